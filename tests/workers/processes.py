"""Looks at the processes and shared memory of this machine, for tests that leave none behind."""

from __future__ import annotations

import os
from pathlib import Path


def table() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that is no zombie."""
    found: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state not in "ZX":
            found[int(path.name)] = (int(parent), command)
    return found


def descendants(root: int) -> dict[int, str]:
    """The processes below one, with their command lines."""
    processes = table()
    found: dict[int, str] = {}
    frontier = {root}
    while frontier:
        below = {pid for pid, (parent, _) in processes.items() if parent in frontier}
        found |= {pid: processes[pid][1] for pid in below}
        frontier = below
    return found


def workers_below(root: int) -> list[int]:
    """The isolated worker processes below a process."""
    return [pid for pid, text in descendants(root).items() if "metasched.measure.worker" in text]


def shared_memory() -> set[str]:
    """The segments in /dev/shm."""
    return set(os.listdir("/dev/shm"))
