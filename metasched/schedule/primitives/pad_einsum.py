"""pad_einsum: the domain of an einsum rounded up, on padded copies of what it uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import single_store, with_regions
from metasched.analysis.dependence import Scope
from metasched.ir.expr import (
    Binary,
    Buffer,
    Cast,
    Const,
    Expr,
    Load,
    Var,
    const,
    minimum,
)
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, For, IterVar, Stmt, Store, seq
from metasched.ir.walk import expr_loads, map_expr, map_exprs, walk_expr
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.plain_nest import PlainNest, serial_nest
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import Copy
from metasched.schedule.state import State

Access = tuple[Buffer, tuple[Expr, ...]]


def pad_einsum(state: State, block: str, padding: tuple[int, ...]) -> tuple[State, tuple[str, ...]]:
    """Round the extents of a block's iterations up to multiples; tiles then need no guards.

    What the block reads it reads from copies with zeros behind the last element, made in front of
    its nest; what it writes is copied from a padded buffer behind it. Buffers that no padded
    iteration indexes stay as they are. The loops keep their names.

    Args:
        state: where to apply.
        block: a block whose accesses are indexed by single iterations or constants.
        padding: for each iteration of the block, what its extent shall be a multiple of.

    Requires:
        - a complete block or a reduction
        - loops around the block alone
        - a loop of its own for each iteration
        - loops of fixed extents
        - serial loops without annotations
        - a factor of at least 1 for each iteration
        - a block that stores one value
        - accesses indexed by iterations and constants
        - padded spatial iterations that index the result
        - no division by what is loaded
        - a sum of products of what all padded reduce iterations index

    ::

        for i, j, k in grid(7, 6, 5):    ->  for x, y in grid(8, 8):
            c[i, j] += a[i, k] * b[k, j]         a_pad[x, y] = if_then_else(
                                                     x < 7 and y < 5, a[x, y], 0)
        # padding=[4, 1, 4]                  for x, y in grid(8, 6):
                                                 b_pad[x, y] = if_then_else(x < 5, b[x, y], 0)
                                             for i, j, k in grid(8, 6, 8):
                                                 c_pad[i, j] += a_pad[i, k] * b_pad[k, j]
                                             for x, y in grid(7, 6):
                                                 c[x, y] = c_pad[x, y]
    """
    target = state.block(block, "pad_einsum")
    einsum = _check(state, target, padding)
    if isinstance(einsum, Refusal):
        raise einsum.error(state, "pad_einsum")
    return einsum.padded(state), ()


@dataclass(frozen=True, slots=True)
class _Einsum:
    """A block in a plain nest, its one store, and the padded extents of its iterations."""

    nest: PlainNest
    store: Store
    extents: Mapping[Var, Expr]

    def padded(self, state: State) -> State:
        """The state with the block and the copies around it."""
        block, caches = self.nest.block, self._caches(state)
        scope = state.scope(block)
        done = state.replace(self.nest.top, self._grown(caches))
        scope = done.block(scope.name)
        done = done.replace(scope, replace(scope, allocs=(*scope.allocs, *caches.values())))
        extent_of = {it.var: it.extent for it in block.iters}
        for access, cache in caches.items():
            top = self._top(done)
            if access == (self.store.buffer, self.store.indices):
                copies = (
                    top,
                    _copy_back(cache, access, extent_of).nest(done, done.block(block.name)),
                )
            else:
                copies = _copy_in(cache, access, extent_of).nest(done, done.block(block.name)), top
            done = done.replace(top, seq(*copies))
        return done

    def _top(self, state: State) -> Stmt:
        loops = self.nest.loops
        return state.loop(loops[0].var.name) if loops else state.block(self.nest.block.name)

    def _grown(self, caches: Mapping[Access, Buffer]) -> Stmt:
        """The nest over the padded extents, on the padded buffers."""
        block = self.nest.block
        iters = tuple(IterVar(i.var, self.extents[i.var], i.kind, i.binding) for i in block.iters)
        init = None if block.init is None else _redirected(block.init, caches)
        body = _redirected(self.store, caches)
        nest: Stmt = with_regions(replace(block, iters=iters, body=body, init=init))
        extents = {it.binding: it.extent for it in iters}
        for loop in reversed(self.nest.loops):
            nest = For(loop.var, extents[loop.var], nest)
        return nest

    def _caches(self, state: State) -> dict[Access, Buffer]:
        """A padded buffer for each access that a padded iteration indexes."""
        block = self.nest.block
        grown = {it.var for it in block.iters if self.extents[it.var] != it.extent}
        written = (self.store.buffer, self.store.indices)
        read = [(x.buffer, x.indices) for x in expr_loads(self.store.value)]
        accesses = [*(a for a in dict.fromkeys(read) if a != written), written]
        kept = [a for a in accesses if grown & set(a[1])]
        names = state.fresh(*(f"{buffer.name}_pad" for buffer, _ in kept))
        return {
            (buffer, indices): Buffer(name, self._shape(indices), buffer.dtype)
            for name, (buffer, indices) in zip(names, kept, strict=True)
        }

    def _shape(self, indices: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(self.extents[i] if isinstance(i, Var) else const(1, i.dtype) for i in indices)


def _redirected(stmt: Stmt, caches: Mapping[Access, Buffer]) -> Stmt:
    """A store on the padded buffers."""

    def visit(expr: Expr) -> Expr:
        mapped = map_expr(expr, visit)
        if isinstance(mapped, Load) and (mapped.buffer, mapped.indices) in caches:
            return Load(caches[mapped.buffer, mapped.indices], _inside(mapped.indices))
        return mapped

    changed = map_exprs(stmt, visit)
    if not isinstance(changed, Store) or (changed.buffer, changed.indices) not in caches:
        return changed
    cache = caches[changed.buffer, changed.indices]
    return Store(cache, _inside(changed.indices), changed.value)


def _inside(indices: Sequence[Expr]) -> tuple[Expr, ...]:
    """The indices of a padded buffer, which has one place where the access has a constant."""
    return tuple(i if isinstance(i, Var) else const(0, i.dtype) for i in indices)


def _copy_in(cache: Buffer, access: Access, extent_of: Mapping[Var, Expr]) -> Copy:
    """The copy of what an access reads; beyond that the buffer may hold other than zeros."""
    buffer, indices = access
    places = list(zip(indices, buffer.shape, strict=True))
    # A guarded access may run over more than there is.
    limits = tuple(
        simplify(minimum(extent_of[i], size)) if isinstance(i, Var) else size for i, size in places
    )

    def source(own: Sequence[Var]) -> list[Expr]:
        return [v if isinstance(i, Var) else i for v, i in zip(own, indices, strict=True)]

    return Copy(cache.name, cache.shape, cache, lambda own: own, buffer, source, limits)


def _copy_back(cache: Buffer, access: Access, extent_of: Mapping[Var, Expr]) -> Copy:
    """The copy of what the block has written to where it belongs."""
    buffer, indices = access
    axes = [i for i in dict.fromkeys(indices) if isinstance(i, Var)]

    def at(own: Sequence[Var], places: Sequence[Expr]) -> list[Expr]:
        values = dict(zip(axes, own, strict=True))
        return [values[i] if isinstance(i, Var) else i for i in places]

    return Copy(
        cache.name, tuple(extent_of[i] for i in axes), buffer, lambda own: at(own, indices),
        cache, lambda own: at(own, _inside(indices)),
    )  # fmt: skip


def _check(state: State, block: Block, padding: tuple[int, ...]) -> _Einsum | Refusal:
    name = block.name
    if (reason := Scope.of(state.scope(block)).why_not_movable(block)) is not None:
        return Refusal("a complete block or a reduction", reason, name)
    nest = serial_nest(state, block)
    if isinstance(nest, Refusal):
        return nest
    if len(padding) != len(block.iters) or min(padding, default=1) < 1:
        given = f"{list(padding)} for {len(block.iters)}"
        return Refusal("a factor of at least 1 for each iteration", given, name)
    store = single_store(block)
    if store is None:
        return Refusal("a block that stores one value", f"'{name}'", name)
    own = {it.var for it in block.iters}
    for access in (Load(store.buffer, store.indices), *expr_loads(store.value)):
        if any(not isinstance(i, Const) and i not in own for i in access.indices):
            return Refusal("accesses indexed by iterations and constants", f"{access}", name)
    extents = {
        it.var: simplify((it.extent + factor - 1) // factor * factor)
        for it, factor in zip(block.iters, padding, strict=True)
    }
    grown = [it for it in block.iters if extents[it.var] != it.extent]
    for it in grown:
        if it.kind == "spatial" and it.var not in store.indices:
            given = f"'{it.var.name}', for whose values one element is written"
            return Refusal("padded spatial iterations that index the result", given, name)
    wrong = _why_not_zeros(store, grown, name)
    return wrong or _Einsum(nest, store, extents)


def _why_not_zeros(store: Store, grown: Sequence[IterVar], at: str) -> Refusal | None:
    """Why the zeros of padding would disturb what the block computes."""
    for node in walk_expr(store.value):
        match node:
            case Binary(op="floordiv" | "floormod", b=by) if grown and expr_loads(by):
                return Refusal("no division by what is loaded", f"{node}", at)
            case _:
                pass
    reduced = {it.var for it in grown if it.kind == "reduce"}
    if not reduced:
        return None
    rule = "a sum of products of what all padded reduce iterations index"
    total, own = store.value, Load(store.buffer, store.indices)
    if not isinstance(total, Binary) or total.op != "add" or own not in (total.a, total.b):
        return Refusal(rule, f"{total}", at)
    factors = _factors(total.b if total.a == own else total.a)
    for factor in factors:
        finite = isinstance(factor, Const) and math.isfinite(factor.value)
        if not finite and not (isinstance(factor, Load) and reduced <= set(factor.indices)):
            return Refusal(rule, f"the factor {factor}", at, "pad the other iterations only")
    if all(isinstance(factor, Const) for factor in factors):
        return Refusal(rule, f"{total}", at)
    return None


def _factors(expr: Expr) -> list[Expr]:
    match expr:
        case Binary(op="mul"):
            return [*_factors(expr.a), *_factors(expr.b)]
        case Cast():
            return _factors(expr.value)
        case _:
            return [expr]


PRIMITIVES.register("pad_einsum", Primitive("pad_einsum", pad_einsum))
