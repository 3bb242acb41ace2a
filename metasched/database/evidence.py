"""The evidence of a record: what proves its output right, and how well its time is known."""

from __future__ import annotations

from metasched.database.records import Scalar
from metasched.measure.records import RunResult
from metasched.measure.statistics import relative_half_width


def evidence_of(
    run: RunResult, *, reference_hash: str | None, seed: int, toolchain: str
) -> dict[str, Scalar]:
    """Return the evidence that a run gives.

    Args:
        run: how the kernel ran.
        reference_hash: source hash of what its output was compared with.
        seed: of the inputs.
        toolchain: what built it.
    """
    return {
        "reference_hash": reference_hash,
        "seed": seed,
        "tolerance": run.tolerance,
        "max_error": run.max_error,
        "noise": relative_half_width(run.samples_s) if run.samples_s else None,
        "noise_floor": run.noise_floor,
        "toolchain": toolchain,
        **run.conditions,
    }
