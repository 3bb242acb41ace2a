"""Pass: which threads run a statement, and conditions where they cost least.

What all threads of an axis would do alike to memory that they have in common, one of them does.
A condition moves out of the loops that it does not depend on, but never around a barrier: all
threads of a block have to get there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from metasched.ir.expr import TRUE, Buffer, Expr, all_of, equal
from metasched.ir.stmt import Alloc, For, If, Invoke, Seq, Stmt, Store, seq
from metasched.ir.threads import COMMON_SCOPES
from metasched.ir.walk import child_stmts, map_stmts, stores, walk
from metasched.lower.affine import has_load, mentions, variables
from metasched.lower.gpu.kernel import BARRIER, Axis
from metasched.lower.guards import conjuncts
from metasched.lower.scope import Scope


def one_thread(stmt: Stmt, axes: Iterable[Axis], scope: Scope) -> Stmt:
    """Guard each store to common memory that does not tell the threads of an axis apart."""
    wide = [axis for axis in axes if axis.extent > 1]

    def visit(node: Stmt) -> Stmt:
        match node:
            case Store() if node.buffer.scope in COMMON_SCOPES:
                return guarded(node, node.buffer, node.indices[0], wide)
            case Invoke() if node.outputs and node.outputs[0].buffer.scope in COMMON_SCOPES:
                # The threads of a group, along x, call together.
                groups = [axis for axis in wide if axis.name != "threadIdx.x"]
                return guarded(node, node.outputs[0].buffer, node.outputs[0].indices[0], groups)
            case _:
                return map_stmts(node, visit)

    def guarded(node: Stmt, buffer: Buffer, index: Expr, wide: list[Axis]) -> Stmt:
        told = variables(index)
        alike = [axis for axis in wide if axis.var not in told]
        if buffer.scope != "global":
            alike = [axis for axis in alike if not axis.name.startswith("blockIdx")]
        guard = all_of([equal(axis.var, 0) for axis in alike])
        return node if guard == TRUE else If(guard, node)

    return visit(stmt)


def spread_conditions(stmt: Stmt, axes: Iterable[Axis]) -> Stmt:
    """Move conditions on threads inwards, where several statements touch common memory."""
    threads = [axis.var for axis in axes if axis.extent > 1]

    def visit(node: Stmt) -> Stmt:
        if isinstance(node, If) and _may_need_barrier(node):
            differs = any(mentions(node.cond, var) for var in threads)
            if differs and node.other is None and not has_load(node.cond):
                return visit(inside(node.cond, node.then))
        return map_stmts(node, visit)

    return visit(stmt)


def _may_need_barrier(stmt: Stmt) -> bool:
    written = [s for s in stores(stmt) if s.buffer.scope in COMMON_SCOPES]
    return bool(written) and len(stores(stmt)) > 1


def inside(cond: Expr, body: Stmt) -> Stmt:
    """A statement under a condition, with the condition around each of its parts."""
    match body:
        case Seq():
            return seq(*(inside(cond, part) for part in body.stmts))
        case For() | Alloc():
            return replace(body, body=inside(cond, body.body))
        case If() if body.other is None and not has_load(body.cond):
            return inside(all_of([*conjuncts(cond), *conjuncts(body.cond)]), body.then)
        case _:
            return If(cond, body)


def hoist_conditions(stmt: Stmt, scope: Scope) -> Stmt:
    """Move each condition out of the loops it does not depend on."""
    stmt = map_stmts(stmt, lambda s: hoist_conditions(s, scope))
    if isinstance(stmt, If) and stmt.other is None:
        return _merged(stmt, scope)
    if isinstance(stmt, Seq):
        return _joined(stmt)
    if not isinstance(stmt, For) or not isinstance(stmt.body, If) or stmt.body.other:
        return stmt
    if any(isinstance(node, Invoke) and node.fn == BARRIER for node in walk(stmt)):
        return stmt
    kept = [c for c in conjuncts(stmt.body.cond) if mentions(c, stmt.var) or has_load(c)]
    outside = [c for c in conjuncts(stmt.body.cond) if c not in kept]
    return _guarded(outside, replace(stmt, body=_guarded(kept, stmt.body.then)))


def _merged(stmt: If, scope: Scope) -> Stmt:
    terms = list(conjuncts(scope.simplify(stmt.cond)))
    then = stmt.then
    if isinstance(then, If) and then.other is None:
        terms += [c for c in conjuncts(then.cond) if c not in terms]
        then = then.then
    return _guarded(terms, then)


def _joined(stmt: Seq) -> Stmt:
    """Neighbours under one condition that none of them changes share it."""
    parts: list[Stmt] = []
    for part in stmt.stmts:
        last = parts[-1] if parts else None
        if (
            isinstance(part, If)
            and isinstance(last, If)
            and part.cond == last.cond
            and part.other is None
            and last.other is None
            and not has_load(part.cond)
        ):
            parts[-1] = If(part.cond, seq(last.then, part.then))
        else:
            parts.append(part)
    return seq(*parts)


def _guarded(conditions: list[Expr], body: Stmt) -> Stmt:
    return If(all_of(conditions), body) if conditions else body


def has_barrier(stmt: Stmt) -> bool:
    """Whether a statement holds a barrier."""
    if isinstance(stmt, Invoke) and stmt.fn == BARRIER:
        return True
    return any(has_barrier(child) for child in child_stmts(stmt))
