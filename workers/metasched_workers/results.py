"""The results of a job, on their way from the thread that collects them to the one that asks."""

from __future__ import annotations

import queue
import time

from metasched.errors import MeasureError
from metasched.measure.records import AnyResult


class Results:
    """Hands results over; a failure stays and is raised by every later call."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[AnyResult | MeasureError | None] = queue.SimpleQueue()

    def put(self, result: AnyResult) -> None:
        """Add a result."""
        self._items.put(result)

    def fail(self, error: MeasureError) -> None:
        """Make every later `collect` raise, once the results before are taken."""
        self._items.put(error)

    def wake(self) -> None:
        """Make `collect`, now or the next time, return early."""
        self._items.put(None)

    def collect(self, timeout_s: float) -> list[AnyResult]:
        """Return the results that are there, waiting so long for the first.

        Raises:
            MeasureError: what `fail` was told.
        """
        found: list[AnyResult] = []
        deadline = time.monotonic() + timeout_s
        while True:
            left = 0.0 if found else max(0.0, deadline - time.monotonic())
            try:
                item = self._items.get(timeout=left) if left else self._items.get_nowait()
            except queue.Empty:
                return found
            if item is None:
                deadline = 0.0
            elif isinstance(item, MeasureError):
                self._items.put(item)
                if not found:
                    raise item
                return found
            else:
                found.append(item)
