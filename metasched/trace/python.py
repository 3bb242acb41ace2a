"""Traces as Python text: a function that repeats the steps on any schedule.

The text needs nothing but the schedule it is given, so it can be pasted into a script and edited.
"""

from __future__ import annotations

from metasched.trace.instruction import GIVES_SEVERAL, Input, Instruction, Ref
from metasched.trace.trace import Trace


def as_python(trace: Trace) -> str:
    """Python text that defines ``apply(sch)``.

    >>> from metasched.trace.instruction import Instruction
    >>> step = Instruction("get_block", ("c",), (), (Ref("block", "b0"),))
    >>> print(as_python(Trace((step,))))
    def apply(sch):
        b0 = sch.get_block("c")
    """
    lines = ["def apply(sch):"]
    for index, step in enumerate(trace.instructions):
        call = _call(step, trace.decisions.get(index))
        lines.append(f"    {_targets(step)}{call}")
    if not trace.instructions:
        lines.append("    pass")
    return "\n".join(lines)


def _targets(step: Instruction) -> str:
    if not step.outputs:
        return ""
    names = ", ".join(ref.name for ref in step.outputs)
    trailing = "," if step.kind in GIVES_SEVERAL and len(step.outputs) == 1 else ""
    return f"{names}{trailing} = "


def _call(step: Instruction, decision: Input) -> str:
    arguments = [_literal(value) for value in step.inputs]
    arguments.extend(f"{key}={_literal(value)}" for key, value in step.attrs)
    if decision is not None:
        arguments.append(f"decision={_literal(decision)}")
    return f"sch.{step.kind}({', '.join(arguments)})"


def _literal(value: Input) -> str:
    if isinstance(value, Ref):
        return value.name
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, str):
        text = repr(value)
        return text if '"' in text or "\\" in text else f'"{text[1:-1]}"'
    return repr(value)
