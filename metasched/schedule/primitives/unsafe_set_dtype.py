"""unsafe_set_dtype: an intermediate buffer stored in another type."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.dtype import NAMES, DType
from metasched.ir.expr import Buffer, Expr, Load, cast
from metasched.ir.stmt import Block, Region, Stmt, Store
from metasched.ir.walk import as_block, map_expr, map_exprs, map_stmts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.primitives.written import written_intermediate
from metasched.schedule.state import State


def unsafe_set_dtype(
    state: State, block: str, buffer_index: int | str, dtype: str
) -> tuple[State, tuple[str, ...]]:
    """Store an intermediate buffer in another type, with casts where it is written and read.

    Unsafe: results are rounded to the new type, and a type that cannot hold the values changes
    them. What is computed from the buffer is computed in the old type; a reduction into it rounds
    each partial result. In C, float16 and bfloat16 are types of storage: what is read is cast
    before it is computed with.

    Args:
        state: where to apply.
        block: a block that writes the buffer.
        buffer_index: which of the buffers it writes, or its name.
        dtype: the name of the new type.

    Requires:
        - an index or the name of a buffer that the block writes
        - an intermediate buffer
        - the name of a scalar dtype

    ::

        b = alloc((64,), "float32")      ->  b = alloc((64,), "float16")
        for i in serial(64):                 for i in serial(64):
            b[i] = a[i] * 2                      b[i] = cast(a[i] * 2, "float16")
        for i in serial(64):                 for i in serial(64):
            c[i] = b[i] + 1                      c[i] = cast(b[i], "float32") + 1
    """
    buffer = written_intermediate(state, block, buffer_index, "unsafe_set_dtype")
    if dtype not in NAMES:
        rule = "the name of a scalar dtype"
        given = f"'{dtype}', none of {', '.join(NAMES)}"
        raise refused(state, "unsafe_set_dtype", rule, given, at=buffer.name)
    if buffer.dtype == DType.of(dtype):
        return state, ()
    new = replace(buffer, dtype=DType.of(dtype))
    return state.with_root(as_block(_retyped(state.program.root, buffer, new))), ()


def _retyped(root: Stmt, old: Buffer, new: Buffer) -> Stmt:
    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        if type(mapped) is Load and mapped.buffer == old:
            return cast(Load(new, mapped.indices), old.dtype)
        return mapped

    def in_regions(regions: tuple[Region, ...]) -> tuple[Region, ...]:
        return tuple(Region(new, r.ranges) if r.buffer == old else r for r in regions)

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        match node:
            case Store() if node.buffer == old:
                return Store(new, node.indices, cast(node.value, new.dtype))
            case Block():
                return replace(
                    node,
                    reads=in_regions(node.reads),
                    writes=in_regions(node.writes),
                    allocs=tuple(new if b == old else b for b in node.allocs),
                )
            case _:
                return node

    return in_stmt(map_exprs(root, in_expr))


PRIMITIVES.register("unsafe_set_dtype", Primitive("unsafe_set_dtype", unsafe_set_dtype))
