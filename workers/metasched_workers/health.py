"""Whether a host is fit to judge candidates: its disk, and its device after several bad ends.

A candidate that fails says something of itself only where the machine is in order. A sick host
gives its work back and is set aside until it is well again.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from metasched.measure.records import AnyResult, BuildResult, Status

_LEAST_FREE_BYTES = 64 << 20
_BAD_ENDS = 5
"""So many runs in a row that ended without a verdict make a device suspicious."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 2.0, 60.0

_NO_VERDICT = (Status.LOST, Status.RUN_ERROR, Status.RUN_TIMEOUT)
_MAY_BE_DISK = (Status.LOST, Status.BUILD_ERROR, Status.RUN_ERROR)


class Health:
    """What a host knows of its own state; called from its thread.

    Args:
        folder: A folder on the disk that is watched.
        probe: Returns what is wrong with the device, or an empty text; runs in a thread and must
            end by itself.
        changed: Called from that thread when the probe has ended.
    """

    def __init__(
        self, folder: Path, probe: Callable[[], str], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._probe = probe
        self._changed = changed
        self._bad_ends = 0
        self._retry_s = _FIRST_RETRY_S
        self._retry_at = 0.0
        self._thread: threading.Thread | None = None
        self.problem = ""

    @property
    def is_probing(self) -> bool:
        """Whether the device is looked at just now; nothing may run on it."""
        return self._thread is not None and self._thread.is_alive()

    def note(self, result: AnyResult) -> None:
        """Take in how a candidate ended."""
        if result.status in _MAY_BE_DISK and (problem := self._disk()):
            self._fall_ill(problem)
        if isinstance(result, BuildResult):
            return
        self._bad_ends = self._bad_ends + 1 if result.status in _NO_VERDICT else 0
        if self._bad_ends >= _BAD_ENDS and not self.is_probing:
            self._bad_ends = 0
            self._look()

    def is_to_blame(self, result: AnyResult) -> bool:
        """Whether a bad end is the host's rather than the candidate's."""
        return bool(self.problem) and result.status in _MAY_BE_DISK

    def look_again(self) -> bool:
        """Let a sick host be probed now and then; whether it is well."""
        if self.problem and time.monotonic() >= self._retry_at and not self.is_probing:
            self._retry_at = time.monotonic() + self._retry_s
            self._look()
        return not self.problem

    def _look(self) -> None:
        self._thread = threading.Thread(target=self._examine, name="metasched-probe", daemon=True)
        self._thread.start()

    def _examine(self) -> None:
        problem = self._disk() or self._probe()
        if problem:
            self._fall_ill(problem)
        else:
            self.problem, self._retry_s = "", _FIRST_RETRY_S
        self._changed()

    def _fall_ill(self, problem: str) -> None:
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
        self.problem = problem

    def _disk(self) -> str:
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            return f"its scratch folder cannot be read: {error.strerror}"
        if free >= _LEAST_FREE_BYTES:
            return ""
        return f"its disk is full: {free >> 20} MiB are free, {_LEAST_FREE_BYTES >> 20} are needed"
