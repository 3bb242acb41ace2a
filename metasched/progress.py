"""Shows a tuning job while it runs: a live table on a terminal, plain lines elsewhere.

`display` chooses between the two; both are fed with the snapshots of `metasched.job`. Everything
goes to standard error, so that the output of a command stays its own.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from metasched import figures
from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.target import Target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from metasched.task import Progress, Task

_EVERY_S = 5.0
"""Seconds after which plain lines report again though nothing improved."""


@contextmanager
def display(
    target: Target, stream: TextIO | None = None
) -> Generator[Callable[[Progress], None], None, None]:
    """Show snapshots of a job until the context ends.

    Args:
        target: what is tuned for; its peak is measured now where it is not known yet, since
            measuring it during the job would disturb the job.
        stream: where to show them; standard error when None.

    Yields:
        A function to call with each snapshot.
    """
    out = stream or sys.stderr
    peaks = peak_rates(target)
    shown: AbstractDisplay = LiveDisplay(peaks, out) if out.isatty() else PlainLines(peaks, out)
    try:
        yield shown.show
    finally:
        shown.close()


def peak_rates(target: Target) -> Mapping[str, float]:
    """Peak operations a second by dtype; empty where they cannot be measured."""
    from metasched.target.peak import measure_peak

    try:
        peak = measure_peak(target)
    except MetaschedError:
        return {}
    return {"float32": peak.float32_flops, "float64": peak.float64_flops}


def share_of_peak(
    program: Program, flops: float, time_s: float | None, peaks: Mapping[str, float]
) -> float | None:
    """The rate of a kernel as a share of the machine's peak in its dtype; None where unknown."""
    peak = peaks.get(str(program.outputs[0].dtype))
    return None if not time_s or not peak else flops / time_s / peak


class AbstractDisplay(ABC):
    """Shows one job.

    Lifecycle: made before the job, `show` called in the tuning process after each event, up to
    some hundred times a second, `close` once at the end, also after an error or Ctrl-C.
    """

    @abstractmethod
    def show(self, snapshot: Progress) -> None:
        """Take in a snapshot."""

    @abstractmethod
    def close(self) -> None:
        """Show the last state and leave the stream clean."""


class PlainLines(AbstractDisplay):
    """A line at each improvement, and every few seconds in between."""

    def __init__(self, peaks: Mapping[str, float], out: TextIO) -> None:
        self._peaks = peaks
        self._out = out
        self._best: dict[str, float | None] = {}
        self._last_s = 0.0
        self._pending: Progress | None = None

    def show(self, snapshot: Progress) -> None:
        """Print a line when the best changed or the last line is old."""
        task = snapshot.task
        improved = self._best.get(_key(task)) != task.best_s
        self._pending = snapshot
        if improved or time.monotonic() - self._last_s >= _EVERY_S:
            self._best[_key(task)] = task.best_s
            self._print(snapshot)

    def close(self) -> None:
        """Print the last snapshot unless its line is there."""
        if self._pending is not None:
            self._print(self._pending)

    def _print(self, snapshot: Progress) -> None:
        self._pending = None
        self._last_s = time.monotonic()
        task = snapshot.task
        parts = [
            f"{snapshot.trials}/{snapshot.budget} trials",
            f"{task.program.name} {speed_text(task, self._peaks)}",
            figures.seconds(snapshot.elapsed_s),
            failures_text(task.failures),
        ]
        print(", ".join(part for part in parts if part), file=self._out, flush=True)


class LiveDisplay(AbstractDisplay):
    """A table that is drawn in place: a row for each program, then workers, failures, phases."""

    def __init__(self, peaks: Mapping[str, float], out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._peaks = peaks
        self._tasks: dict[str, Task] = {}
        self._last: Progress | None = None
        self._live = Live(
            console=Console(file=out), get_renderable=self._render, refresh_per_second=5
        )
        self._live.start()

    def show(self, snapshot: Progress) -> None:
        """Keep the snapshot; a thread of the display draws it."""
        self._tasks[_key(snapshot.task)] = snapshot.task
        self._last = snapshot

    def close(self) -> None:
        """Draw the last state and give the terminal back."""
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        last = self._last
        if last is None:
            return Text("starting workers, building the default schedule ...")
        grid = Table(box=None, pad_edge=False)
        for name in ("program", "trials", "best us", "GFLOP/s", "peak", "speed-up"):
            grid.add_column(name, justify="left" if name == "program" else "right")
        for task in tuple(self._tasks.values()):
            grid.add_row(*task_cells(task, self._peaks))
        failed = sum((Counter(t.failures) for t in tuple(self._tasks.values())), Counter[str]())
        state = [
            f"{last.trials}/{last.budget} trials in {figures.seconds(last.elapsed_s)}",
            f"building {last.building}, running {last.running}",
            failures_text(failed) or "no failures",
        ]
        # The bar stands in a row of its own, since alone it would not end its line.
        bar = Table.grid()
        bar.add_row(ProgressBar(total=max(1, last.budget), completed=last.trials, width=60))
        return Group(
            grid,
            bar,
            Text(" | ".join(state)),
            Text(phases_text(last.phases)),
            *([Text(last.workers)] if last.workers else []),
        )


def _key(task: Task) -> str:
    return f"{task.workload.hash} {task.target.key()}"


def task_cells(task: Task, peaks: Mapping[str, float]) -> tuple[str, ...]:
    """Name, trials, best, rate, share of peak and speed-up of one program."""
    speedup = task.baseline_s / task.best_s if task.baseline_s and task.best_s else None
    return (
        task.program.name,
        str(task.trials),
        figures.microseconds(task.best_s),
        figures.gflops(task.flops, task.best_s),
        figures.percent(share_of_peak(task.program, task.flops, task.best_s, peaks)),
        figures.ratio(speedup),
    )


def speed_text(task: Task, peaks: Mapping[str, float]) -> str:
    """The best of a program in words."""
    if task.best_s is None:
        return "has no result yet"
    _, _, best, rate, share, speedup = task_cells(task, peaks)
    of_peak = "" if share == figures.NOTHING else f", {share} of the peak"
    against = "" if speedup == figures.NOTHING else f", {speedup} times the default schedule"
    return f"best {best} us ({rate} GFLOP/s{of_peak}{against})"


def failures_text(failures: Mapping[str, int]) -> str:
    """Failed candidates by status, then those rejected before they were built; empty without any.

    >>> failures_text({"build_error": 2, "run_timeout": 1, "rejected": 7})
    'failed: 2 build_error, 1 run_timeout, 7 rejected'
    >>> failures_text({"rejected": 7})
    '7 rejected'
    """
    failed = {name: count for name, count in sorted(failures.items()) if count}
    rejected = failed.pop("rejected", 0)
    counts = [f"{count} {status}" for status, count in failed.items()]
    text = [f"failed: {', '.join(counts)}"] if counts else []
    return ", ".join([*text, *([f"{rejected} rejected"] if rejected else [])])


def phases_text(phases: Mapping[str, float]) -> str:
    """Seconds by phase, the longest first.

    >>> phases_text({"build": 1.5, "run": 12.0})
    'run 12.0 s, build 1.5 s'
    """
    ranked = sorted(phases.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {figures.seconds(time_s)}" for name, time_s in ranked)
