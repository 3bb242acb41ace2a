"""Talks to one entrant of a bench, a process that answers JSON lines; `peers/serve.py` is its end.

Whatever goes wrong with an entrant is a `PeerError` in one line, so that the others go on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from metasched.errors import MeasureError

_ANSWER_S: Final = 120.0
"""Seconds that an answer may take where the request says nothing else."""


class PeerError(MeasureError):
    """An entrant failed, died or did not answer in time."""


class Peer:
    """A running entrant.

    Args:
        name: for messages.
        command: the program and its arguments.
        environment: added to this process's own.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()
        self._buffer = b""
        # A session of its own, so that its workers end with it and Ctrl-C is for us to handle.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, timeout_s: float = _ANSWER_S, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Between requests the entrant is stopped: idle thread pools spin and would be measured.

        Raises:
            PeerError: the entrant answered with an error, ended, or took too long; in the last
                case it is ended.
        """
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        answer = json.loads(self._line(timeout_s))
        self._signal(signal.SIGSTOP)
        if not answer.pop("ok"):
            raise PeerError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the entrant and everything that it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):
                if stream is not None:
                    stream.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise PeerError(f"{self.name}: no answer within {timeout_s:.0f} s")
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                raise PeerError(f"{self.name}: ended with {self._process.wait()}: {self._tail()}")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _tail(self) -> str:
        """The last line the entrant wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
