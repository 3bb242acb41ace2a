"""NumPy as an entrant, for the operators that it has."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import serve

from metasched.testing.numpy_reference import reference


class NumpyEntrant:
    """A function of NumPy calls, called in a loop of Python as its users do."""

    def prepare(self, request: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
        """Choose the function."""
        self._function = reference(request["op"], request["arguments"])
        self._inputs = inputs
        self._output = self._function(*inputs)
        return {"about": f"numpy {np.__version__}", "tuning_s": None}

    def time(self, calls: int) -> float:
        """Seconds of so many calls in a row."""
        function, inputs = self._function, self._inputs
        begin = time.perf_counter()
        for _ in range(calls):
            function(*inputs)
        return time.perf_counter() - begin

    def output(self) -> Any:
        """The first output."""
        return self._output


if __name__ == "__main__":
    serve.serve(NumpyEntrant())
