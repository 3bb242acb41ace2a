"""Loop nests as a line of text each, so that the shape of a sketch shows at a glance."""

from __future__ import annotations

from metasched.ir.stmt import Block, For, Program, Seq, Stmt


def outline(program: Program) -> list[str]:
    """One line for each nest of a program.

    It has loop names with the first letter of a kind other than serial, blocks in angle brackets,
    and square brackets around each of several statements in one loop.
    """
    body = program.root.body
    return [_text(stmt) for stmt in (body.stmts if isinstance(body, Seq) else (body,))]


def _text(stmt: Stmt) -> str:
    match stmt:
        case For():
            kind = "" if stmt.kind == "serial" else f"{stmt.kind[0]}:"
            return f"{kind}{stmt.var.name} {_text(stmt.body)}"
        case Seq():
            return " ".join(f"[{_text(s)}]" for s in stmt.stmts)
        case Block():
            return f"<{stmt.name}>"
        case _:
            raise TypeError(type(stmt).__name__)
