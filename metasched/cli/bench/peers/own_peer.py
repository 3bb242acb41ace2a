"""metasched as an entrant: the kernel that `compile` serves from the tuned database.

The operators of the suite have one output each.
"""

from __future__ import annotations

from typing import Any

import serve

import metasched as ms
from metasched.measure.kernel import LoadedKernel


class OwnEntrant:
    """A compiled kernel, called in a loop of C."""

    def prepare(self, request: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
        """Look the kernel up and load it."""
        program = ms.ops.get(request["op"])(**request["arguments"])
        target = ms.Target("cpu")
        self._kernel = ms.compile(program, target, request["database"])
        if self._kernel.record is None:
            raise LookupError("no record may be served; the default schedule is not timed")
        self._output: Any = self._kernel(*inputs)
        # The timer lends a workspace; it is kept until the process ends.
        self._timer = LoadedKernel(self._kernel.artefact).timer([*inputs, self._output])
        self._time = self._timer.__enter__()
        return {"about": f"metasched {ms.__version__}", "tuning_s": None}

    def time(self, calls: int) -> float:
        """Seconds of so many calls in a row."""
        return self._time(calls)

    def output(self) -> Any:
        """The first output."""
        return self._output


if __name__ == "__main__":
    serve.serve(OwnEntrant())
