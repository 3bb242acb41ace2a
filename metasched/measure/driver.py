"""The thread that moves the builder and the runner pool, whatever the caller is doing meanwhile.

Only this thread touches the pools. A measurement never competes with a compiler: while a run is
under way the builders are paused, so nobody waits at a barrier and no core is disturbed.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from metasched.errors import MeasureError
from metasched.measure.pool import Outcome, Pool, PoolConfig

_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Order:
    is_run: bool
    request: Any
    timeout_s: float


class Driver:
    """Serves requests on two pools from a thread of its own.

    Args:
        builders: The pool that builds.
        runners: The pool that runs.
        share_cores: Whether builders must pause while a runner is busy.
    """

    def __init__(self, builders: PoolConfig, runners: PoolConfig, *, share_cores: bool) -> None:
        self._configs = (builders, runners)
        self._share_cores = share_cores
        self._orders: deque[_Order] = deque()
        self._done: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._bell, self._listener = socket.socketpair()
        self._bell.setblocking(False)
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="metasched-workers", daemon=True)
        self._thread.start()

    def submit(self, request: Any, timeout_s: float, *, is_run: bool) -> None:
        """Queue a request.

        Raises:
            MeasureError: the driver has ended.
        """
        self._check()
        self._orders.append(_Order(is_run, request, timeout_s))
        self._ring()

    def collect(self, timeout_s: float) -> list[Outcome]:
        """Return the outcomes that are there, waiting so long for the first.

        Raises:
            MeasureError: the workers cannot be started.
        """
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + timeout_s
        while True:
            left = 0.0 if outcomes else max(0.0, deadline - time.monotonic())
            try:
                item = self._done.get(timeout=left) if left else self._done.get_nowait()
            except queue.Empty:
                if not outcomes:
                    self._check()
                return outcomes
            if item is None:
                deadline = 0.0
            elif isinstance(item, BaseException):
                self._failure = item
                self._check()
            else:
                outcomes.append(item)

    def wake(self) -> None:
        """Make `collect`, now or the next time, return at once; from any thread."""
        self._done.put(None)

    def close(self) -> None:
        """Kill all workers and wait until they are gone; may be called again."""
        self._closing = True
        self._ring()
        self._thread.join()
        self._bell.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise MeasureError(str(self._failure)) from self._failure
        if self._closing:
            raise MeasureError("the workers are closed; open new ones")

    def _ring(self) -> None:
        try:
            self._bell.send(b"!")
        except OSError:
            # Full: the thread will wake anyway. Closed: there is no thread to wake.
            return

    def _main(self) -> None:
        pools: list[Pool] = []
        try:
            pools.extend(Pool(config) for config in self._configs)
            while not self._closing:
                self._move(*pools)
        except BaseException as error:
            self._done.put(error)
        finally:
            for pool in pools:
                pool.close()
            self._listener.close()

    def _move(self, builders: Pool, runners: Pool) -> None:
        """Do what can be done now, then wait for the next event."""
        while self._orders:
            order = self._orders.popleft()
            (runners if order.is_run else builders).submit(order.request, order.timeout_s)
        for pool in (runners, builders):
            for outcome in pool.step():
                self._done.put(outcome)
        self._start(builders, runners)
        self._wait(builders, runners)

    def _start(self, builders: Pool, runners: Pool) -> None:
        if self._share_cores and (runners.is_busy or runners.can_start):
            builders.pause()
        else:
            builders.resume()
            builders.start()
        runners.start()

    def _wait(self, builders: Pool, runners: Pool) -> None:
        until = min(builders.next_deadline(), runners.next_deadline())
        timeout_s = min(_IDLE_S, max(0.0, until - time.monotonic()))
        watched = [*runners.connections, *([] if builders.is_paused else builders.connections)]
        ready = wait([self._listener, *watched], timeout_s)
        if self._listener in ready:
            self._listener.recv(4096)
