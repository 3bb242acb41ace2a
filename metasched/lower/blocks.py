"""Pass 1: blocks become statements over loop variables.

Iteration variables are replaced by their bindings, predicates become `If`, and each reduction's
init runs in loops of its own before the outermost loop that reduces. Later passes so meet no
condition "first step of the reduction", save where a fused loop reduces several elements one after
the other, where a loop inside repeats the reduction, or where what the init reads is made inside.
Loops of one step disappear. Read `buffers` next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metasched.ir.expr import TRUE, Expr, Var, all_of, const, equal, int_value
from metasched.ir.stmt import Annotations, Block, For, If, Invoke, Stmt, Store, annotation, seq
from metasched.ir.walk import (
    free_vars,
    loads,
    map_exprs,
    map_stmts,
    substitute,
    written_buffers,
)
from metasched.lower.scope import Scope

UNROLL_KEYS = ("pragma_auto_unroll_max_step", "pragma_unroll_explicit")


def lower_blocks(root: Block, scope: Scope) -> Stmt:
    """The body of the root block without blocks, inits and predicates."""
    return _Lowering(scope).visit(root, {}, ())


@dataclass(slots=True)
class _Lowering:
    scope: Scope
    loops: list[For] = field(default_factory=list[For])
    inits: dict[int, list[Stmt]] = field(default_factory=dict[int, list[Stmt]])
    """Init nests by the depth of the loop that they go before."""

    def visit(self, stmt: Stmt, values: Mapping[Var, Expr], inherited: Annotations) -> Stmt:
        match stmt:
            case For():
                return self.loop(stmt, values, inherited)
            case Block():
                return self.block(stmt, values, inherited)
            case Store():
                indices = tuple(substitute(i, values) for i in stmt.indices)
                return Store(stmt.buffer, indices, substitute(stmt.value, values))
            case Invoke():
                return map_exprs(stmt, lambda e: self.scope.simplify(substitute(e, values)))
            case If():
                other = None if stmt.other is None else self.visit(stmt.other, values, inherited)
                then = self.visit(stmt.then, values, inherited)
                return If(self.scope.simplify(substitute(stmt.cond, values)), then, other)
            case _:
                return map_stmts(stmt, lambda s: self.visit(s, values, inherited))

    def loop(self, loop: For, values: Mapping[Var, Expr], inherited: Annotations) -> Stmt:
        extent = self.scope.simplify(substitute(loop.extent, values))
        annotations = _merge(loop.annotations, inherited)
        if int_value(extent) == 1:
            kept = tuple(a for a in annotations if a[0] in UNROLL_KEYS)
            return self.visit(loop.body, {**values, loop.var: const(0, loop.var.dtype)}, kept)
        self.scope.bind(loop.var, extent)
        here = replace(loop, extent=extent, annotations=annotations)
        self.loops.append(here)
        body = self.visit(loop.body, values, ())
        self.loops.pop()
        inits = self.inits.pop(len(self.loops), [])
        return seq(*inits, replace(here, body=body))

    def block(self, block: Block, values: Mapping[Var, Expr], inherited: Annotations) -> Stmt:
        simplify = self.scope.simplify
        bound = {i.var: simplify(substitute(i.binding, values)) for i in block.iters}
        inner = {**values, **bound}
        in_order = [free_vars(bound[i.var]) for i in block.iters if i.kind == "opaque"]
        for region in block.writes:
            self.scope.carried.setdefault(region.buffer, set()).update(*in_order)
        predicate = simplify(substitute(block.predicate, values))
        body = self.visit(block.body, inner, inherited)
        if block.init is None:
            return _guarded(predicate, body)
        reduced = {
            v for i in block.iters if i.kind == "reduce" for v in free_vars(bound[i.var])
        } & {loop.var for loop in self.loops}
        if not reduced:
            return _guarded(predicate, seq(self.visit(block.init, inner, ()), body))
        depth = next(d for d, loop in enumerate(self.loops) if loop.var in reduced)
        late = written_buffers(self.loops[depth].body) & {x.buffer for x in loads(block.init)}
        if late or not self.starts_together(block, bound, reduced, depth):
            zeros = [equal(bound[i.var], 0) for i in block.iters if i.kind == "reduce"]
            first = simplify(all_of(zeros))
            init = _guarded(first, self.visit(block.init, inner, ()))
            return _guarded(predicate, seq(init, body))
        init = self.init_nest(block, inner, predicate, reduced, depth)
        self.inits.setdefault(depth, []).append(init)
        return _guarded(predicate, body)

    def starts_together(
        self, block: Block, bound: Mapping[Var, Expr], reduced: set[Var], depth: int
    ) -> bool:
        """Whether each element's reduction starts where all loops that reduce do, and only there.

        It does not where a loop, as a fused one, drives spatial iterations too, and it starts
        again in each iteration of a loop inside that drives none.
        """
        driving = reduced.union(*(free_vars(value) for value in bound.values()))
        if any(loop.var not in driving for loop in self.loops[depth:]):
            return False
        zeros: dict[Var, Expr] = {v: const(0, v.dtype) for v in reduced}
        for it in block.iters:
            if it.kind == "reduce":
                first = self.scope.simplify(substitute(bound[it.var], zeros))
                if int_value(first) != 0:
                    return False
            elif free_vars(bound[it.var]) & reduced:
                return False
        return True

    def init_nest(
        self,
        block: Block,
        values: Mapping[Var, Expr],
        predicate: Expr,
        reduced: set[Var],
        depth: int,
    ) -> Stmt:
        """The init in copies of the spatial loops under the outermost reducing loop."""
        zeros: dict[Var, Expr] = {v: const(0, v.dtype) for v in reduced}
        copies: list[tuple[For, Var]] = []
        for loop in self.loops[depth:]:
            if loop.var not in reduced:
                var = self.scope.fresh_var(f"{loop.var.name}_init", loop.extent)
                zeros[loop.var] = var
                copies.append((loop, var))
        at_start = {v: self.scope.simplify(substitute(e, zeros)) for v, e in values.items()}
        assert block.init is not None
        init = self.visit(block.init, {**at_start, **zeros}, ())
        nest = _guarded(self.scope.simplify(substitute(predicate, zeros)), init)
        for loop, var in reversed(copies):
            kept = tuple(a for a in loop.annotations if a[0] in UNROLL_KEYS)
            nest = replace(loop, var=var, body=nest, annotations=kept)
        return nest


def _merge(own: Annotations, inherited: Annotations) -> Annotations:
    return own + tuple(a for a in inherited if annotation(own, a[0]) is None)


def _guarded(predicate: Expr, body: Stmt) -> Stmt:
    return body if predicate == TRUE else If(predicate, body)
