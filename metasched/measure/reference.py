"""What the outputs should be: the unscheduled program, compiled plainly and run once a seed.

The results are also kept in the job's scratch folder, so that a respawned runner need not
compute them again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metasched.errors import MeasureError
from metasched.measure.inputs import make_arguments
from metasched.measure.kept import Kept
from metasched.measure.kernel import Array, LoadedKernel
from metasched.measure.records import ArgSpec, Artefact

_KEPT_BYTES = 1 << 30


def expected_path(scratch: str, reference: Artefact, seed: int) -> Path:
    """Return the file that holds the expected outputs, once they are known."""
    return Path(scratch) / "expected" / f"{reference.source_hash}-{seed}.npz"


class References:
    """Expected outputs by reference and seed.

    Args:
        scratch: The job's folder.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._kept = Kept[tuple[Array, ...]](_KEPT_BYTES, _bytes)

    def expected(
        self, reference: Artefact, args: Sequence[ArgSpec], seed: int
    ) -> tuple[Array, ...]:
        """Return the outputs that a kernel with these parameters should compute.

        Raises:
            MeasureError: the reference has other parameters, or cannot be loaded.
        """
        wanted, has = (
            [(arg.shape, arg.dtype, arg.is_output) for arg in each]
            for each in (args, reference.args)
        )
        if wanted != has:
            raise MeasureError(f"the reference has parameters {has}, the kernel {wanted}")
        path = expected_path(self._scratch, reference, seed)
        return self._kept.get(path, lambda: _load(path) or _compute(reference, seed, path))


def _load(path: Path) -> tuple[Array, ...]:
    if not path.exists():
        return ()
    with np.load(path, allow_pickle=False) as data:
        return tuple(data[f"arr_{index}"] for index in range(len(data.files)))


def _compute(reference: Artefact, seed: int, path: Path) -> tuple[Array, ...]:
    path.parent.mkdir(exist_ok=True)
    started = path.with_suffix(".started")
    _refuse_fatal(started)
    started.write_text(str(os.getpid()))
    arguments = [guarded.array for guarded in make_arguments(reference.args, seed)]
    LoadedKernel(reference).call(arguments)
    pairs = zip(reference.args, arguments, strict=True)
    outputs = tuple(array for arg, array in pairs if arg.is_output)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.savez(file, *outputs)
    os.replace(file.name, path)
    started.unlink(missing_ok=True)
    return outputs


def _refuse_fatal(started: Path) -> None:
    """Refuse a reference that ended the runner before: else every candidate would wait for it."""
    if not started.exists():
        return
    pid = started.read_text()
    if pid and not Path(f"/proc/{pid}").exists():
        raise MeasureError(
            "the reference, the unscheduled program, crashed or took too long in an earlier run;"
            " raise reference_timeout_s or choose a smaller shape"
        )


def _bytes(outputs: tuple[Array, ...]) -> int:
    return sum(array.nbytes for array in outputs)
