"""What a builder process does with one candidate, called in this process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pytest

from metasched import ops, te
from metasched.build import Candidate, arg_specs, build_candidate, build_reference, compile_source
from metasched.codegen import emit
from metasched.ir.hash import structural_hash
from metasched.ir.stmt import Program
from metasched.lower import lower
from metasched.measure.kernel import LoadedKernel
from metasched.measure.records import BuildOutput, Rejected
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.cpu import CPU_POSTPROCS
from metasched.space.postprocs import AbstractPostproc
from metasched.space.postprocs import Rejected as RejectedSchedule
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.trace import Trace

TARGET = Target("cpu")


def matmul() -> Program:
    return ops.matmul(m=12, n=16, k=10)


def sample(program: Program, number: int = 0) -> str:
    """A trace of one sketch of the default space, with drawn decisions."""
    sketch = Space.default().on(program, TARGET).sketches[number].trace
    drawn = replay(sketch, program, choices=Draw(np.random.default_rng(1)))
    return drawn.trace.to_json()


def run_matmul(built: BuildOutput) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((12, 10), (10, 16)))
    c = np.empty((12, 16), np.float32)
    LoadedKernel(built.artefact).call([a, b, c])
    np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.cc
def test_a_candidate_is_replayed_finished_and_compiled(tmp_path: Path) -> None:
    program = matmul()
    candidate = Candidate(str(program), sample(program), CPU_POSTPROCS, TARGET)
    built = build_candidate(candidate, str(tmp_path))
    run_matmul(built)
    # The trace in the result holds the postprocessing, so that it replays alone.
    again = replay(Trace.from_json(built.trace), program).program
    assert structural_hash(again) == built.program_hash
    assert built.detail.keys() == {"replay", "lower", "compile"}
    assert built.artefact.flops == 2 * 12 * 16 * 10
    assert Path(built.artefact.path).parent == tmp_path


@pytest.mark.cc
def test_default_and_reference_compute_the_same(tmp_path: Path) -> None:
    candidate = Candidate(str(matmul()), None, CPU_POSTPROCS, TARGET)
    default = build_candidate(candidate, str(tmp_path))
    reference = build_reference(candidate, str(tmp_path))
    run_matmul(default)
    run_matmul(reference)
    assert default.program_hash != reference.program_hash
    assert default.artefact.args == reference.artefact.args
    assert replay(Trace.from_json(default.trace), matmul()).program != matmul()


@pytest.mark.cc
def test_one_source_is_compiled_once(tmp_path: Path) -> None:
    source = emit(lower(matmul(), TARGET), TARGET)
    first = compile_source(source, matmul(), TARGET, str(tmp_path))
    written = Path(first.path).stat().st_mtime_ns
    assert compile_source(source, matmul(), TARGET, str(tmp_path)) == first
    assert Path(first.path).stat().st_mtime_ns == written
    other = ops.matmul(m=12, n=16, k=11)
    second = compile_source(emit(lower(other, TARGET), TARGET), other, TARGET, str(tmp_path))
    assert second.source_hash != first.source_hash


@final
@dataclass(frozen=True)
class Refuse(AbstractPostproc):
    name: ClassVar[str] = "refuse"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | RejectedSchedule:
        return RejectedSchedule(self.name, "too plain")


def test_what_a_postprocessor_rejects_is_not_compiled(tmp_path: Path) -> None:
    program = matmul()
    candidate = Candidate(str(program), sample(program), (Refuse(),), TARGET)
    with pytest.raises(Rejected, match=r"^too plain$"):
        build_candidate(candidate, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_trace_of_another_program_is_rejected_in_one_line(tmp_path: Path) -> None:
    candidate = Candidate(str(ops.relu(m=4, n=4)), sample(matmul()), CPU_POSTPROCS, TARGET)
    with pytest.raises(Rejected, match="get_block") as caught:
        build_candidate(candidate, str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_trace_that_transforms_a_parameter_is_rejected(tmp_path: Path) -> None:
    sch = Schedule(matmul())
    sch.transform_layout(sch.get_block("c"), "b", "k, j -> [j, k]")
    candidate = Candidate(str(matmul()), sch.trace.to_json(), (), TARGET)
    with pytest.raises(
        Rejected, match=r"^the schedule transforms the layout of the parameter 'b'$"
    ):
        build_candidate(candidate, str(tmp_path))


def test_arguments_of_a_program() -> None:
    specs = arg_specs(matmul())
    assert [(s.name, s.shape, s.dtype, s.is_output) for s in specs] == [
        ("a", (12, 10), "float32", False),
        ("b", (10, 16), "float32", False),
        ("c", (12, 16), "float32", True),
    ]


@pytest.mark.cc
def test_symbolic_sizes_are_minus_one_and_have_no_operation_count(tmp_path: Path) -> None:
    n = te.var("n")
    x = te.placeholder((n, 3), "float32", name="x")
    program = te.program([x, te.compute((n, 3), lambda i, j: x[i, j] + 1.0, name="y")])
    assert arg_specs(program)[0].shape == (-1, 3)
    source = emit(lower(program, TARGET), TARGET)
    assert math.isnan(compile_source(source, program, TARGET, str(tmp_path)).flops)
