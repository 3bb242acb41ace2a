"""What a worker process takes with all it started, and what it may take at most.

The look is cheap, so that it disturbs no measurement: only the worker and its descendants are read.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SHARE: Final = 0.5
MOST_PROCESSES: Final = 256
"""A compiler takes four; a candidate that starts so many will not end by itself."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Resident bytes and number of the processes from a worker downwards."""

    rss_bytes: int
    processes: int


def weigh(pid: int) -> Weight:
    """Return what a process takes with its descendants, as far as they are there."""
    total, count, found = 0, 0, [pid]
    while found and count <= MOST_PROCESSES:
        one = found.pop()
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
            count += 1
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return Weight(total, count)


def excess(pid: int, limit_bytes: int) -> str:
    """Return what a process takes too much of, or an empty text."""
    weight = weigh(pid)
    if weight.rss_bytes > limit_bytes:
        taken = f"took {_mebibytes(weight.rss_bytes)} of memory with all it started"
        return f"{taken}, {_mebibytes(limit_bytes)} are allowed"
    if weight.processes > MOST_PROCESSES:
        return f"started more than {MOST_PROCESSES} processes"
    return ""


@lru_cache(maxsize=1)
def default_limit_bytes() -> int:
    """Return half of the memory that this machine, or this container, has."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return int(total * _SHARE)


def _mebibytes(size: int) -> str:
    return f"{size >> 20} MiB"
