"""Before the passes: procedures that the target's language has no text of become plain code."""

from __future__ import annotations

from metasched.errors import CodegenError
from metasched.ir.procedure import PROCEDURES, meaning_of, why_not_invocable
from metasched.ir.stmt import Invoke, Stmt
from metasched.ir.walk import map_stmts
from metasched.lower.scope import Scope


def write_out(stmt: Stmt, scope: Scope) -> Stmt:
    """The statement without the procedures that the target's language has no text of.

    Raises:
        CodegenError: a call is wrong, or needs a feature that the target lacks.
    """
    if isinstance(stmt, Invoke) and (stmt.outputs or stmt.args):
        if wrong := why_not_invocable(stmt):
            raise CodegenError(wrong)
        procedure, target = PROCEDURES[stmt.fn], scope.target
        if target.kind not in procedure.text:
            return meaning_of(stmt, scope.fresh_var)
        if missing := procedure.missing(target.features):
            raise CodegenError(
                f"procedure '{stmt.fn}' needs {', '.join(missing)}, which the target lacks; it "
                f"offers {', '.join(target.features) or 'no features'}"
            )
        return stmt
    return map_stmts(stmt, lambda s: write_out(s, scope))
