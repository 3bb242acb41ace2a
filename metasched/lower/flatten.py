"""Pass 3: row-major buffers become one-dimensional and every index one canonical sum.

All later passes reason about flat indices only: the difference of two addresses is then a constant
or unknown. Read `guards` next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from metasched.errors import CodegenError
from metasched.ir.dtype import INT64
from metasched.ir.expr import Buffer, Expr, Load, Ramp, Var, add, cast, const, int_value, mul
from metasched.ir.lanes import lane_value
from metasched.ir.procedure import PROCEDURES
from metasched.ir.simplify import product, simplify
from metasched.ir.stmt import Alloc, Invoke, Stmt, Store
from metasched.ir.walk import as_load, map_expr, map_stmts, substitute
from metasched.lower.affine import int_coefficient
from metasched.lower.scope import Scope


def flatten(stmt: Stmt, scope: Scope) -> Stmt:
    """Replace every buffer by a one-dimensional one and simplify all expressions."""
    return _Flatten(scope).visit(stmt)


@dataclass(frozen=True, slots=True)
class _Flat:
    buffer: Buffer
    strides: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class _Flatten:
    scope: Scope
    known: dict[Buffer, _Flat] = field(default_factory=dict[Buffer, _Flat])
    seen: dict[Expr, Expr] = field(default_factory=dict[Expr, Expr])
    lanes: dict[int, Var] = field(default_factory=dict[int, Var])

    def visit(self, stmt: Stmt) -> Stmt:
        match stmt:
            case Store():
                indices = (self.index(stmt.buffer, stmt.indices),)
                return Store(self.flat(stmt.buffer).buffer, indices, self.expr(stmt.value))
            case Invoke() if stmt.fn in PROCEDURES:
                return self.call(stmt)
            case Invoke():
                outputs = tuple(as_load(self.expr(o)) for o in stmt.outputs)
                return Invoke(stmt.fn, outputs, tuple(self.expr(a) for a in stmt.args))
            case Alloc():
                return Alloc(self.flat(stmt.buffer).buffer, self.visit(stmt.body))
            case _:
                return map_stmts(stmt, self.visit)

    def call(self, call: Invoke) -> Invoke:
        """A call on flat buffers; strides of tiles in memory follow the arguments."""
        outputs = tuple(as_load(self.expr(o)) for o in call.outputs)
        args = [self.expr(a) for a in call.args]
        places = (*call.outputs, *(as_load(a) for a in call.args))
        for place, (_, param) in zip(places, PROCEDURES[call.fn].params, strict=True):
            if param.strides:
                args += self.flat(place.buffer).strides[-1 - param.strides : -1]
        return Invoke(call.fn, outputs, tuple(args))

    def flat(self, buffer: Buffer) -> _Flat:
        found = self.known.get(buffer)
        if found is None:
            found = self.known[buffer] = _Flat(flat_buffer(buffer), strides(buffer))
        return found

    def index(self, buffer: Buffer, indices: tuple[Expr, ...]) -> Expr:
        lanes = max((i.dtype.lanes for i in indices), default=1)
        if lanes > 1:
            return self.vector_index(buffer, indices, lanes)
        total: Expr = const(0)
        for index, stride in zip(indices, self.flat(buffer).strides, strict=True):
            total = add(total, mul(cast(self.expr(index), INT64), stride))
        return self.scope.simplify(total)

    def vector_index(self, buffer: Buffer, indices: tuple[Expr, ...], lanes: int) -> Expr:
        """The addresses of a vector's lanes, which must be steps of one size."""
        lane = self.lanes.get(lanes)
        if lane is None:
            lane = self.lanes[lanes] = self.scope.fresh_var("lane", const(lanes))
        address = self.index(buffer, tuple(lane_value(i, lane) for i in indices))
        step = int_coefficient(address, lane)
        if step is None:
            raise CodegenError(
                f"the lanes of a vector access to '{buffer.name}' are not steps of one size apart "
                "in memory; change the layout of the buffer before the block is tensorized"
            )
        base = self.scope.simplify(substitute(address, {lane: const(0)}))
        return Ramp(base, const(step), lanes)

    def expr(self, expr: Expr) -> Expr:
        found = self.seen.get(expr)
        if found is None:
            if type(expr) is Load:
                index = self.index(expr.buffer, expr.indices)
                found = Load(self.flat(expr.buffer).buffer, (index,))
            else:
                found = map_expr(expr, self.expr)
                scalar = found.dtype.lanes == 1
                if scalar and (found.dtype.is_int or found.dtype.code == "bool"):
                    found = self.scope.simplify(found)
            self.seen[expr] = found
        return found


def flat_buffer(buffer: Buffer) -> Buffer:
    """The one-dimensional buffer that holds the same elements, and the gaps of aligned strides."""
    size = product((buffer.shape[0], strides(buffer)[0])) if buffer.shape else const(1)
    return Buffer(buffer.name, (size,), buffer.dtype, buffer.scope)


def strides(buffer: Buffer) -> tuple[Expr, ...]:
    """How many elements apart the neighbours along each axis are, padded as the buffer asks.

    >>> rows = Buffer("a", (const(4), const(32)), INT64, align=((0, 32, 1),))
    >>> [str(s) for s in strides(rows)]
    ['33', '1']
    """
    aligned = {axis: (factor, offset) for axis, factor, offset in buffer.align}
    found: list[Expr] = []
    stride: Expr = const(1)
    for axis in reversed(range(len(buffer.shape))):
        if axis in aligned:
            factor, offset = aligned[axis]
            stride = simplify(stride + (offset - stride) % factor)
        found.append(stride)
        stride = product((stride, buffer.shape[axis]))
    return tuple(reversed(found))


def constant_elements(buffer: Buffer) -> int:
    """Elements of a flat buffer.

    Raises:
        CodegenError: its size is symbolic.
    """
    size = int_value(buffer.shape[0])
    if size is None:
        raise CodegenError(
            f"intermediate '{buffer.name}' has the symbolic size {buffer.shape[0]}; give the sizes "
            "of the program as numbers"
        )
    return size
