"""What runs in a worker process: one request after another, until the parent is gone.

Imports little, so that a respawned worker is ready soon. `process` starts it; the factory named
in the spec (`builder`, `runner`) does the work.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from metasched.measure.process import WorkerSpec, kill_tree

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_MS = 2000
_MOST_FILE_BYTES = 8 << 30
"""Of one file: a candidate that writes without end does not fill the disk."""
_ORPHANED_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker answers: once when it is ready, then once for each request.

    Attributes:
        value: What the request's function returned.
        problem: Why there is no value; empty when there is one.
        rss_bytes: The resident memory of the worker.
        is_spent: Whether the worker can serve no further request.
    """

    value: Any = None
    problem: str = ""
    rss_bytes: int = 0
    is_spent: bool = False


def main() -> None:
    """Serve the connection named on the command line."""
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    spec: WorkerSpec = pickle.loads(connection.recv_bytes())
    _prepare(spec, parent, connection.fileno())
    try:
        for module in spec.modules:
            import_module(module)
        handle = resolve(spec.factory)(spec.scratch)
        connection.send_bytes(pickle.dumps(Reply(rss_bytes=_rss_bytes())))
        while True:
            request = connection.recv_bytes()
            connection.send_bytes(_answer(handle, request))
    except (EOFError, ConnectionError):
        _end(parent, spec.scratch)


def resolve(name: str) -> Callable[..., Any]:
    """Return what ``"module:name"`` stands for."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def _answer(handle: Callable[[Any], Any], request: bytes) -> bytes:
    try:
        return pickle.dumps(_reply(handle, handle(pickle.loads(request))))
    except Exception as error:
        return pickle.dumps(_reply(handle, None, describe_error(error)))


def _reply(handle: Callable[[Any], Any], value: Any, problem: str = "") -> Reply:
    return Reply(value, problem, _rss_bytes(), bool(getattr(handle, "is_spent", False)))


def describe_error(error: BaseException) -> str:
    """Return kind, text and place of an unexpected error in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _prepare(spec: WorkerSpec, parent: int, connection: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_FILE_BYTES, _MOST_FILE_BYTES))
    with contextlib.suppress(PermissionError):
        os.nice(spec.nice)
    if sys.platform == "linux":
        # Wakes a paused worker when the parent dies, so that the watcher can end it. A signal
        # that kills would also come when merely the starting thread ends.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    watcher = threading.Thread(
        target=_watch, args=(parent, connection, spec.scratch), name="watcher", daemon=True
    )
    watcher.start()


def _watch(parent: int, connection: int, scratch: str) -> None:
    """End this process, whatever it is doing, once the parent has gone."""
    poll = select.poll()
    poll.register(connection, 0)
    while not poll.poll(_PARENT_CHECK_MS) and os.getppid() == parent:
        pass
    _end(parent, scratch)


def _end(parent: int, scratch: str) -> None:
    """Leave no process behind, and no file either where the parent can no longer see to that."""
    deadline = time.monotonic() + _ORPHANED_WITHIN_S
    while os.getppid() == parent and time.monotonic() < deadline:
        # A dying parent closes its connections a little before its children are orphans.
        time.sleep(0.01)
    if os.getppid() != parent:
        shutil.rmtree(scratch, ignore_errors=True)
    kill_tree(os.getpid())


def _rss_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
