"""Notes on the root block: what a rule has sampled for a postprocessor to carry out."""

from __future__ import annotations

from metasched.ir.stmt import annotation
from metasched.schedule.schedule import Schedule


def take_number(schedule: Schedule, key: str) -> int:
    """Read a note of the root block and remove it; 0 where there is none."""
    root = schedule.program.root
    value = annotation(root.annotations, key)
    if value is None:
        return 0
    schedule.unannotate(schedule.get_block(root.name), key)
    return int(value) if isinstance(value, int | float) else 0
