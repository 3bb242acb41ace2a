"""Before the passes: whether the target has what the extern functions of a program need."""

from __future__ import annotations

from metasched.errors import CodegenError
from metasched.ir.expr import Extern
from metasched.ir.extern import EXTERNS, why_not_callable
from metasched.ir.stmt import Stmt
from metasched.ir.walk import stmt_exprs, walk, walk_expr
from metasched.lower.scope import Machine


def check_externs(stmt: Stmt, target: Machine) -> None:
    """Refuse calls that the target cannot compute.

    Raises:
        CodegenError: a function is unknown, is called with other types, or needs a feature that
            the target lacks.
    """
    for node in walk(stmt):
        for expr in stmt_exprs(node):
            for call in walk_expr(expr):
                if isinstance(call, Extern):
                    _check(call, target)


def _check(call: Extern, target: Machine) -> None:
    if wrong := why_not_callable(call):
        raise CodegenError(wrong)
    missing = EXTERNS[call.fn].missing(target.features)
    if missing:
        raise CodegenError(
            f"extern '{call.fn}' needs {', '.join(missing)}, which the target lacks; it offers "
            f"{', '.join(target.features) or 'no features'}"
        )
