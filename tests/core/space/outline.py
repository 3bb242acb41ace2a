"""Loop nests as one line of text, so that a test shows the shape of a sketch at a glance."""

from __future__ import annotations

import numpy as np

from metasched.ir.stmt import Block, For, Program, Seq, Stmt
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import AbstractSite, ComputeLocation
from metasched.target import Target
from metasched.trace.instruction import Decision
from metasched.trace.trace import Trace

TARGET = Target(
    "cpu", cores=2, vector_bits=512, vector_registers=32, l1_bytes=32768, l2_bytes=1048576
)
"""A machine that does not depend on the host."""


def outline(program: Program) -> list[str]:
    """One line per nest: loop names with the first letter of a kind other than serial, blocks in
    angle brackets, and square brackets around each of several statements in one loop."""
    body = program.root.body
    return [_text(stmt) for stmt in (body.stmts if isinstance(body, Seq) else (body,))]


def sketch_outline(sketch: Trace, program: Program) -> list[str]:
    """The outline of a sketch with every stage of sampled location where it was."""
    return outline(replay(sketch, program, choices=_InPlace()).program)


class _InPlace:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def choose(self, index: int, site: AbstractSite) -> Decision:
        return -1 if isinstance(site, ComputeLocation) else site.sample(self.rng)


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
