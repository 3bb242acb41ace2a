"""One worker process: started, paused, continued and killed together with all it started.

The process is `python -c`, not a fork and not a copy of the user's script, so a caller needs no
``if __name__ == "__main__"``. `worker` is what runs in it, `pool` decides what it is sent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from metasched.errors import MeasureError

_COMMAND = "from metasched.measure.worker import main; main()"
_TAIL_BYTES = 2000
_TAIL_LINES = 4
_EXIT_WAIT_S = 5.0
_KILL_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker process is.

    Attributes:
        factory: ``"module:Class"``; the class is called with `scratch` and returns a function
            of one request, which is called for every request. Where that has an attribute
            `is_spent` that is true, the process is replaced after the request.
        scratch: The folder of the job, removed when it ends.
        nice: Added to the priority number of the process; a negative one needs a permission and
            is left out without it.
        environment: Added to the variables of this process.
        modules: Imported first: they register what the requests rely on.
    """

    factory: str
    scratch: str
    nice: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    modules: tuple[str, ...] = ()


class WorkerProcess:
    """A running worker and the connection to it.

    The process leads a session of its own, so neither Ctrl-C nor a closed terminal reaches it,
    and its whole session can be ended with it. What it prints goes to a log file.

    Raises:
        MeasureError: the process cannot be started.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        ours, theirs = socket.socketpair()
        self._log = Path(spec.scratch) / f"worker-{ours.fileno()}-{id(self):x}.log"
        self._stopped: frozenset[int] = frozenset()
        try:
            with theirs, self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _COMMAND, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env=_environment(spec),
                )
        except OSError as error:
            ours.close()
            raise MeasureError(f"cannot start a worker process: {error}") from error
        self.connection = Connection(ours.detach())
        self.send(spec)

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group and session."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Send a picklable message; a worker that died meanwhile is noticed when reading."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(pickle.dumps(message))

    def pause(self) -> None:
        """Stop the worker and the groups of its children until `resume`."""
        self._signal((self.pid,), signal.SIGSTOP)
        # Only now: a stopped worker starts no further child.
        self._stopped = frozenset((self.pid, *_child_groups(self.pid)))
        self._signal(self._stopped, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue what `pause` stopped."""
        self._signal(self._stopped, signal.SIGCONT)
        self._stopped = frozenset()

    def kill(self) -> None:
        """End the worker and everything it started, and wait until it is gone."""
        kill_tree(self.pid)
        with contextlib.suppress(ChildProcessError):
            # A fork that was under way when the leader was stopped appears only now. Until the
            # leader is waited for, its number stands for no other session.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            kill_tree(self.pid)
        self._process.wait()
        self.connection.close()
        with contextlib.suppress(OSError):
            self._log.unlink()

    def cause_of_death(self) -> str:
        """Return how a worker whose connection broke has ended, with the end of its output."""
        try:
            code = self._process.wait(_EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            return f"closed its connection without ending{self.log_tail()}"
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return f"{ended}{self.log_tail()}"

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, which no crash sends."""
        return self._process.poll() == -signal.SIGKILL

    def log_tail(self) -> str:
        """Return ``"; it printed: ..."`` with the end of its output, or an empty text."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f"; it printed: {' | '.join(lines[-_TAIL_LINES:])}" if lines else ""

    def clear_log(self) -> None:
        """Forget what was printed so far."""
        with contextlib.suppress(OSError):
            os.truncate(self._log, 0)

    def _signal(self, groups: Iterable[int], number: signal.Signals) -> None:
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)


def kill_tree(pid: int) -> None:
    """Kill a session leader, its descendants and its session, also those in other groups.

    The leader, which may be the caller itself, goes last.
    """
    if pid != os.getpid():
        _kill(pid, signal.SIGSTOP)
    for _ in range(_KILL_ROUNDS):
        members = _tree(pid)
        if not members:
            break
        # Stopped first: what forks without end would otherwise be ahead of the killer.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for member in members:
                _kill(member, number)
    _kill(pid, signal.SIGKILL)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _tree(leader: int) -> frozenset[int]:
    """Return the living processes below a leader or in its session, without the leader."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        pid, (state, parent, _, session) = (
            int(path.parent.name),
            text.rpartition(")")[2].split()[:4],
        )
        if state in "ZX":
            continue
        parents[pid] = int(parent)
        if int(session) == leader:
            found.add(pid)
    while below := {pid for pid, up in parents.items() if up in found | {leader}} - found:
        found |= below
    return frozenset(found - {leader})


def _child_groups(pid: int) -> list[int]:
    """Return the process groups of the children of a process."""
    groups: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    groups.append(os.getpgid(int(child)))
    return groups


def _environment(spec: WorkerSpec) -> dict[str, str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **spec.environment}
