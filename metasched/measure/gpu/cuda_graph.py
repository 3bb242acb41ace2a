"""CUDA graphs: calls recorded once and launched together, without the host in between.

pycuda has none, so these few functions of the driver are called directly, in its context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import TracebackType
from typing import Self

from metasched.errors import MeasureError

_THREAD_LOCAL = 1


class Graph:
    """What some work enqueues on a stream, as one thing to launch.

    Args:
        stream: The handle of the stream.
        work: Enqueues the calls; they run when the graph is launched.

    Raises:
        MeasureError: the driver refuses to record it.
    """

    def __init__(self, stream: int, work: Callable[[], object]) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._stream = ctypes.c_void_p(stream)
        self._graph, self._ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            work()
        finally:
            self._call("cuStreamEndCapture", self._stream, ctypes.byref(self._graph))
        arguments = (ctypes.byref(self._ready), self._graph, ctypes.c_ulonglong(0))
        self._call("cuGraphInstantiateWithFlags", *arguments)

    def launch(self) -> None:
        """Enqueue the recorded calls."""
        self._call("cuGraphLaunch", self._ready, self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What failed before has left the context useless, and its objects with it.
        self._driver.cuGraphExecDestroy(self._ready)
        self._driver.cuGraphDestroy(self._graph)

    def _call(self, name: str, *arguments: object) -> None:
        code = self._driver[name](*arguments)
        if code:
            raise MeasureError(f"the kernel failed: {name} returned {code}")
