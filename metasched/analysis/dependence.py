"""Who feeds whom inside a scope, and which blocks may be moved as a whole.

The notions are TensorIR's: a *complete* block computes each element once from finished inputs, a
*reduction* block accumulates under its own init. Only such blocks may be computed elsewhere or
more than once. Read `facts` next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metasched.ir.expr import Binary, Buffer, Expr, Select, Var, const
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, For, IterVar, Stmt
from metasched.ir.walk import child_stmts, expr_loads, free_vars, stores, walk_expr


def direct_blocks(stmt: Stmt) -> Iterator[Block]:
    """The blocks under a statement in execution order, without those nested in other blocks."""
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, Block):
            yield node
        elif isinstance(node, For):
            stack.append(node.body)
        else:
            stack.extend(reversed(child_stmts(node)))


@dataclass(frozen=True, slots=True)
class Scope:
    """The blocks directly inside one block, in execution order."""

    root: Block
    blocks: tuple[Block, ...]

    @staticmethod
    def of(root: Block) -> Scope:
        """The scope that a block opens."""
        return Scope(root, tuple(direct_blocks(root.body)))

    def writers(self, buffer: Buffer) -> tuple[Block, ...]:
        """The blocks that write a buffer."""
        return tuple(b for b in self.blocks if writes(b, buffer))

    def readers(self, buffer: Buffer) -> tuple[Block, ...]:
        """The blocks that read a buffer."""
        return tuple(b for b in self.blocks if reads(b, buffer))

    def producers(self, block: Block) -> tuple[Block, ...]:
        """The blocks before one that write what it reads."""
        before = self.blocks[: self._position(block)]
        needed = {r.buffer for r in block.reads}
        return tuple(b for b in before if any(r.buffer in needed for r in b.writes))

    def consumers(self, block: Block) -> tuple[Block, ...]:
        """The blocks behind one that read what it writes."""
        behind = self.blocks[self._position(block) + 1 :]
        made = {r.buffer for r in block.writes}
        return tuple(b for b in behind if any(r.buffer in made for r in b.reads))

    def _position(self, block: Block) -> int:
        return next(k for k, b in enumerate(self.blocks) if b is block)

    def is_output(self, block: Block) -> bool:
        """Whether a block writes a buffer that outlives the scope."""
        return any(r.buffer not in self.root.allocs for r in block.writes)

    def why_not_complete(self, block: Block) -> str | None:
        """Why a block is not complete, or None if it is."""
        for it in block.iters:
            if it.kind != "spatial":
                return f"'{block.name}', whose iteration '{it.var.name}' is {it.kind}"
        if block.init is not None:
            return f"'{block.name}', which has an init"
        if any(reads(block, r.buffer) for r in block.writes):
            return f"'{block.name}', which reads what it writes"
        return self._why_not_dominant(block)

    def why_not_reduction(self, block: Block) -> str | None:
        """Why a block is not a reduction, or None if it is."""
        if block.init is None:
            return f"'{block.name}', which has no init"
        reduced = {it.var for it in block.iters if it.kind == "reduce"}
        if any(it.kind == "opaque" for it in block.iters):
            return f"'{block.name}', which has an opaque iteration"
        for region in block.writes:
            if any(free_vars(low) & reduced for low, _ in region.ranges):
                return f"'{block.name}', which writes '{region.buffer.name}' at a reduce iteration"
        return self._why_not_dominant(block)

    def why_not_computed(self, block: Block) -> str | None:
        """Why a block is neither complete nor a reduction, or None if it is one of them."""
        reason = self.why_not_complete(block)
        return self.why_not_reduction(block) if reason and block.init is not None else reason

    def why_not_movable(self, block: Block) -> str | None:
        """Why a block cannot be computed elsewhere, or None."""
        return self.why_not_computed(block) or self.why_not_steady(block)

    def why_not_steady(self, block: Block) -> str | None:
        """Why a block may read other values at another place, or None.

        A block with opaque iterations, as `rolling_buffer` makes one, may overwrite its results.
        """
        for region in block.reads:
            for writer in self.writers(region.buffer):
                if writer is not block and any(it.kind == "opaque" for it in writer.iters):
                    return (
                        f"'{block.name}', which reads '{region.buffer.name}' while "
                        f"'{writer.name}' goes on writing it"
                    )
        return None

    def _why_not_dominant(self, block: Block) -> str | None:
        for region in block.writes:
            others = [b.name for b in self.writers(region.buffer) if b is not block]
            if others:
                return (
                    f"'{block.name}', which shares the writing of '{region.buffer.name}' with "
                    f"'{others[0]}'"
                )
        return None


def reads(block: Block, buffer: Buffer) -> bool:
    """Whether a block reads a buffer (a reduction's reading of its own result does not count)."""
    return any(r.buffer == buffer for r in block.reads)


def writes(block: Block, buffer: Buffer) -> bool:
    """Whether a block writes a buffer."""
    return any(r.buffer == buffer for r in block.writes)


def reduces_in_order(block: Block) -> bool:
    """Whether a reduction treats what it has accumulated differently at some of its steps.

    Its reduce loops then run in the order that they have, as after `fuse_reduction_epilogue`.
    """
    reduced = {it.var for it in block.iters if it.kind == "reduce"}
    own = {r.buffer for r in block.writes}
    for store in stores(block.body):
        for node in walk_expr(store.value):
            if isinstance(node, Select) and free_vars(node.cond) & reduced:
                kept = (*expr_loads(node.then), *expr_loads(node.other))
                if any(load.buffer in own for load in kept):
                    return True
    return False


def driven(iters: tuple[IterVar, ...], kind: str) -> set[Var]:
    """The loop variables in the bindings of the iterations of one kind."""
    found: set[Var] = set()
    for it in iters:
        if it.kind == kind:
            found |= free_vars(it.binding)
    return found


def conjuncts(condition: Expr) -> tuple[Expr, ...]:
    """The parts of a conjunction; none for a condition that is always true."""
    if isinstance(condition, Binary) and condition.op == "and":
        return (*conjuncts(condition.a), *conjuncts(condition.b))
    return () if condition == const(True, "bool") else (condition,)


def domain_guards(block: Block) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """The parts of a block's predicate that only keep iterations in their domains, and the rest."""
    guards: list[Expr] = []
    rest: list[Expr] = []
    for part in conjuncts(block.predicate):
        inside = any(_guards_domain(part, it) for it in block.iters)
        (guards if inside else rest).append(part)
    return tuple(guards), tuple(rest)


def _guards_domain(part: Expr, it: IterVar) -> bool:
    """Whether ``part`` is ``binding < extent`` or ``0 <= binding``, maybe of a tiled form."""
    if not isinstance(part, Binary) or part.op not in ("lt", "le"):
        return False
    if part.op == "le":
        return part.a == const(0, part.a.dtype) and _same(part.b, it.binding)
    if part.b == it.extent and _same(part.a, it.binding):
        return True
    match it.binding:
        case Binary(op="floordiv", a=whole, b=size):
            return _same(part.a, whole) and _same(part.b, it.extent * size)
        case _:
            return False


def _same(a: Expr, b: Expr) -> bool:
    return a == b or simplify(a - b) == const(0, a.dtype)
