"""reverse_compute_inline: a consumer's formula applied where its producer stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from metasched.analysis.access import simplify_indices, single_store, with_regions
from metasched.analysis.dependence import Scope, domain_guards
from metasched.analysis.facts import terms
from metasched.analysis.region import makes_all
from metasched.ir.expr import (
    Binary,
    Const,
    Expr,
    Load,
    Var,
    all_of,
    const,
    equal,
    less,
    less_equal,
    logical_and,
)
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Stmt, Store
from metasched.ir.walk import expr_loads, free_vars, map_expr, substitute
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def reverse_compute_inline(state: State, block: str) -> tuple[State, tuple[str, ...]]:
    """Apply a consumer's formula where its producer stores, and drop the consumer.

    The consumer may read the producer's result in another order or shape, as long as each of its
    iterations reads one element that no other one reads. The producer keeps its name.

    Args:
        state: where to apply.
        block: the consumer.

    Requires:
        - a complete block
        - a block that reads what stays as it is
        - a block that reads one producer's result
        - a producer that is a complete block
        - a producer whose result only this block reads
        - a single store in both blocks
        - blocks without conditions
        - a read of the producer's result that can be inverted
        - a producer that makes all that the block reads

    ::

        for i in serial(64):             ->  for i in serial(64):
            b[i] = a[i] + 1                      c[i] = (a[i] + 1) * 2
        for i in serial(64):
            c[i] = b[i] * 2
    """
    target = state.block(block, "reverse_compute_inline")
    scope = Scope.of(state.scope(target))
    fusion = _check(scope, target, state.iters_around(target))
    if isinstance(fusion, Refusal):
        raise fusion.error(state, "reverse_compute_inline")
    merged = fusion.merged()

    def change(node: Stmt) -> Stmt | None:
        if not isinstance(node, Block):
            return node
        if node.name == block:
            return None
        if node.name == merged.name:
            return merged
        if node.name == scope.root.name:
            return replace(node, allocs=tuple(b for b in node.allocs if b != fusion.made.buffer))
        return node

    new = state.edit(change)
    gone = state.tree.loops.keys() - new.tree.loops.keys()
    return new.without("reverse_compute_inline", block, *gone), ()


def can_reverse_compute_inline(state: State, block: str) -> str | None:
    """Why `reverse_compute_inline` would refuse, or None."""
    target = state.block(block, "reverse_compute_inline")
    fusion = _check(Scope.of(state.scope(target)), target, state.iters_around(target))
    return str(fusion) if isinstance(fusion, Refusal) else None


@dataclass(frozen=True, slots=True)
class _Fusion:
    """A consumer's store to be executed in its producer, with its iterations solved there."""

    producer: Block
    made: Store
    stored: Store
    values: Mapping[Var, Expr]
    conditions: tuple[Expr, ...]
    simplify: Simplifier

    def merged(self) -> Block:
        """The producer, storing the consumer's result."""

        def replaced(expr: Expr) -> Expr:
            if isinstance(expr, Load) and expr.buffer == self.made.buffer:
                return self.made.value
            if type(expr) is Var:
                return self.values.get(expr, expr)
            return map_expr(expr, replaced)

        value = simplify_indices(replaced(self.stored.value), self.simplify)
        indices = tuple(self.simplify(replaced(i)) for i in self.stored.indices)
        bindings = {it.var: it.binding for it in self.producer.iters}
        guard = substitute(all_of(self.conditions), bindings)
        body = Store(self.stored.buffer, indices, value)
        predicate = logical_and(self.producer.predicate, guard)
        return with_regions(replace(self.producer, body=body, predicate=predicate))


def _check(scope: Scope, block: Block, around: Mapping[Var, Expr]) -> _Fusion | Refusal:
    name = block.name
    if (reason := scope.why_not_complete(block)) is not None:
        return Refusal("a complete block", reason, name)
    if (reason := scope.why_not_steady(block)) is not None:
        rule = "a block that reads what stays as it is"
        return Refusal(rule, reason, name, "inline before rolling_buffer")
    producers = scope.producers(block)
    if len(producers) != 1:
        given = ", ".join(f"'{p.name}'" for p in producers) or "no producer"
        return Refusal("a block that reads one producer's result", given, name)
    producer = producers[0]
    if (reason := scope.why_not_complete(producer)) is not None:
        hint = "use reverse_compute_at to fuse what follows a reduction"
        return Refusal("a producer that is a complete block", reason, producer.name, hint)
    others = [b.name for b in scope.consumers(producer) if b is not block]
    if others or scope.is_output(producer):
        given = f"'{others[0]}', which reads it too" if others else "an output"
        return Refusal("a producer whose result only this block reads", given, producer.name)
    made, stored = single_store(producer), single_store(block)
    if made is None or stored is None:
        return Refusal("a single store in both blocks", "several statements", name)
    if domain_guards(producer)[1] or domain_guards(block)[1]:
        conditioned = block if domain_guards(block)[1] else producer
        given = f"{conditioned.predicate}"
        return Refusal("blocks without conditions", given, conditioned.name)
    fusion = _solve(producer, made, block, stored, around)
    if fusion is None:
        read = next(i for i in expr_loads(stored.value) if i.buffer == made.buffer)
        return Refusal("a read of the producer's result that can be inverted", f"{read}", name)
    if not _makes_all(producer, block, around):
        rule = "a producer that makes all that the block reads"
        return Refusal(rule, f"'{producer.name}', which makes only a part", producer.name)
    return fusion


def _makes_all(producer: Block, block: Block, around: Mapping[Var, Expr]) -> bool:
    (made,) = producer.writes
    used = [r for r in block.reads if r.buffer == made.buffer]
    return all(makes_all(producer, made, block, r, around) for r in used)


def _solve(
    producer: Block, made: Store, block: Block, stored: Store, around: Mapping[Var, Expr]
) -> _Fusion | None:
    """Express the consumer's iterations in the producer's; None where that fails.

    An inverse is guessed from the form of the read and then verified both ways round: every
    iteration reads one element, and different ones read different elements.
    """
    reads = {i.indices for i in expr_loads(stored.value) if i.buffer == made.buffer}
    if len(reads) != 1:
        return None
    (indices,) = reads
    own = Simplifier({**around, **{it.var: it.extent for it in block.iters}})
    ranges = {**around, **{it.var: it.extent for it in producer.iters}}
    there = Simplifier(ranges, keep_units=True)
    at = [Var(f"{made.buffer.name}.{k}", i.dtype) for k, i in enumerate(indices)]
    read = [own(i) for i in indices]
    solved = dict(_inverse(list(zip(read, at, strict=True)), {it.var for it in block.iters}))
    forth, back = dict(zip(at, read, strict=True)), dict(zip(at, made.indices, strict=True))
    values: dict[Var, Expr] = {}
    conditions: list[Expr] = []
    for it in block.iters:
        value = solved.get(it.var, const(0, it.var.dtype))
        if own(substitute(value, forth) - it.var) != const(0, it.var.dtype):
            return None
        values[it.var] = inverse = there(substitute(value, back))
        inside = (less_equal(const(0, inverse.dtype), inverse), less(inverse, it.extent))
        conditions.extend(c for c in inside if not there.can_prove(c))
    for index, element in zip(read, made.indices, strict=True):
        if not free_vars(index):
            conditions.append(there(equal(element, index)))
        elif there(substitute(index, values) - element) != const(0, element.dtype):
            return None
    return _Fusion(producer, made, stored, values, tuple(conditions), there)


def _inverse(pairs: list[tuple[Expr, Var]], own: set[Var]) -> Iterator[tuple[Var, Expr]]:
    """Candidate solutions of ``index(vars) == at``; the caller verifies them."""
    quotients: dict[tuple[Var, int], Expr] = {}
    remainders: dict[tuple[Var, int], Expr] = {}
    for index, at in pairs:
        match index:
            case Binary(op="floordiv", a=Var() as var, b=Const(value=size)):
                quotients[var, int(size)] = at
            case Binary(op="floormod", a=Var() as var, b=Const(value=size)):
                remainders[var, int(size)] = at
            case _:
                yield from _digits(index, at, own)
    for (var, size), quotient in quotients.items():
        if (var, size) in remainders:
            yield var, quotient * size + remainders[var, size]


def _digits(index: Expr, at: Expr, own: set[Var]) -> Iterator[tuple[Var, Expr]]:
    """Take ``at == offset + v0 * s0 + v1 * s1 + ...`` apart, where the steps count like digits."""
    steps: list[tuple[int, Var]] = []
    rest: Expr = at
    for coefficient, atoms in terms(index):
        if not atoms:
            rest = rest - coefficient
        elif len(atoms) == 1 and isinstance(atoms[0], Var) and coefficient > 0:
            steps.append((coefficient, atoms[0]))
        else:
            return
    for coefficient, var in sorted(steps, key=lambda step: -step[0]):
        if var in own:
            yield var, rest // coefficient
        rest = rest % coefficient


PRIMITIVES.register(
    "reverse_compute_inline", Primitive("reverse_compute_inline", reverse_compute_inline)
)
