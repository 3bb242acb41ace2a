"""Programs on a terminal: in colours, and as the difference that a step made."""

from __future__ import annotations

import sys
from difflib import SequenceMatcher

from metasched.ir.stmt import Program


def show(program: Program, before: Program | None = None) -> None:
    """Print a program, in colours on a terminal.

    Args:
        program: what to print.
        before: mark the lines that differ from this program: ``+`` came, ``-`` went.
    """
    lines = str(program).splitlines() if before is None else difference(before, program)
    if not sys.stdout.isatty():
        print("\n".join(lines))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    language = "python" if before is None else "diff"
    Console().print(Syntax("\n".join(lines), language, background_color="default"))


def difference(before: Program, after: Program) -> list[str]:
    """The lines of both programs, each behind ``+``, ``-`` or, where they agree, a blank.

    >>> from metasched import ops
    >>> from metasched.schedule.schedule import Schedule
    >>> sch = Schedule(ops.matmul(m=4, n=4, k=4))
    >>> sch.unroll(sch.get_loops(sch.get_block("c"))[0])
    >>> [line for line in difference(sch.original, sch.program) if line[0] != " "]
    ['-     for i in serial(4):', '+     for i in unrolled(4):']
    """
    old, new = str(before).splitlines(), str(after).splitlines()
    lines: list[str] = []
    for tag, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines.extend(f"  {line}" for line in old[i:j])
        else:
            lines.extend(f"- {line}" for line in old[i:j])
            lines.extend(f"+ {line}" for line in new[k:n])
    return lines
