"""Pass 9: operands that several statements of a straight run share are loaded once.

Statements that update different variables are first put in the order that needs fewest registers:
the operands of the smaller kind (vectors or repeated scalars) stay, the others pass by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from metasched.ir.expr import Broadcast, Buffer, Expr, Load, Select
from metasched.ir.stmt import Alloc, Seq, Stmt, Store, seq
from metasched.ir.walk import expr_children, expr_loads, map_expr, map_stmts
from metasched.lower.scope import Scope


def reuse_loads(stmt: Stmt, scope: Scope) -> Stmt:
    """Name the loads that repeat within runs of stores."""
    if isinstance(stmt, Seq):
        parts: list[Stmt] = []
        for run in _runs(stmt.stmts):
            if all(isinstance(s, Store) for s in run) and len(run) > 1:
                parts.append(_Run(scope).rewrite([s for s in run if isinstance(s, Store)]))
            else:
                parts.extend(reuse_loads(s, scope) for s in run)
        return seq(*parts)
    return map_stmts(stmt, lambda s: reuse_loads(s, scope))


def _runs(stmts: tuple[Stmt, ...]) -> Iterator[list[Stmt]]:
    """Maximal runs of stores, and the other statements one by one."""
    run: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, Store):
            run.append(stmt)
            continue
        if run:
            yield run
        yield [stmt]
        run = []
    if run:
        yield run


@dataclass(frozen=True, slots=True)
class _Run:
    scope: Scope

    def rewrite(self, run: list[Store]) -> Stmt:
        written = {s.buffer for s in run}
        operands = [list(_operands(s.value, written)) for s in run]
        counts = Counter(e for found in operands for e in dict.fromkeys(found))
        shared = {e for e, n in counts.items() if n > 1}
        if not shared:
            return seq(*run)
        names: dict[Expr, Buffer] = {}
        parts: list[Stmt] = []
        for number in _order(run, operands, shared):
            for operand in dict.fromkeys(operands[number]):
                if operand in shared and operand not in names:
                    names[operand] = self.name(operand)
                    parts.append(Store(names[operand], (), operand))
            store = run[number]
            parts.append(Store(store.buffer, store.indices, _replace(store.value, names)))
        result: Stmt = seq(*parts)
        for name in reversed(tuple(names.values())):
            result = Alloc(name, result)
        return result

    def name(self, operand: Expr) -> Buffer:
        load = operand.value if isinstance(operand, Broadcast) else operand
        assert isinstance(load, Load)
        return self.scope.fresh_register(f"{load.buffer.name}_t", operand.dtype)


def _operands(expr: Expr, written: set[Buffer]) -> Iterator[Expr]:
    """Unconditional loads, alone or repeated in all lanes, of memory that the run leaves alone."""
    match expr:
        case Load() if expr.buffer.scope != "register":
            if expr.buffer not in written:
                yield expr
        case Broadcast(value=Load() as load) if load.buffer.scope != "register":
            if load.buffer not in written:
                yield expr
        case Select():
            yield from _operands(expr.cond, written)
        case _:
            for child in expr_children(expr):
                yield from _operands(child, written)


def _replace(expr: Expr, names: dict[Expr, Buffer]) -> Expr:
    found = names.get(expr)
    if found is not None:
        return Load(found, ())
    return map_expr(expr, lambda e: _replace(e, names))


def _order(run: list[Store], operands: list[list[Expr]], shared: set[Expr]) -> Iterator[int]:
    """Positions of the stores, each group of independent updates reordered."""
    start = 0
    while start < len(run):
        end = start
        targets: set[Buffer] = set()
        while end < len(run) and run[end].buffer.scope == "register":
            if run[end].buffer in targets:
                break
            targets.add(run[end].buffer)
            end += 1
        if end == start:
            end += 1
        group = range(start, end)
        yield from _order_group(group, operands, shared) if _independent(run[start:end]) else group
        start = end


def _independent(run: list[Store]) -> bool:
    """Whether no statement reads a variable that another one sets."""
    targets = {s.buffer for s in run}
    return all(
        load.buffer == s.buffer or load.buffer not in targets
        for s in run
        for load in expr_loads(s.value)
    )


def _order_group(group: range, operands: list[list[Expr]], shared: set[Expr]) -> Iterator[int]:
    first: dict[Expr, int] = {}
    for number in group:
        for operand in operands[number]:
            if operand in shared:
                first.setdefault(operand, len(first))
    repeated = [e for e in first if isinstance(e, Broadcast)]
    passing_repeated = len(first) - len(repeated) <= len(repeated)

    def key(number: int) -> tuple[list[int], list[int]]:
        scalars = [first[e] for e in operands[number] if e in first and isinstance(e, Broadcast)]
        vectors = [
            first[e] for e in operands[number] if e in first and not isinstance(e, Broadcast)
        ]
        return (scalars, vectors) if passing_repeated else (vectors, scalars)

    return iter(sorted(group, key=key))
