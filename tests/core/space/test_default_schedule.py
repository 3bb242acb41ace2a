from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.expr import Var
from metasched.ir.stmt import For, Program
from metasched.ir.walk import walk
from metasched.schedule.replay import replay
from metasched.space.default_schedule import default_schedule
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline


def kinds(program: Program) -> set[str]:
    return {node.kind for node in walk(program.root) if isinstance(node, For)}


@pytest.mark.parametrize("name", suite.SUITE)
def test_every_operator_gets_a_parallel_and_vectorised_schedule(name: str) -> None:
    schedule = default_schedule(suite.program(name), TARGET)
    # One matrix's norm is a single sum: too little to share between cores.
    wanted = {"serial", "vectorized"} if name == "NRM" else {"serial", "parallel", "vectorized"}
    assert kinds(schedule.program) == wanted
    assert all(site.size() == 1 for site in schedule.sites.values()), "nothing is left to chance"


@pytest.mark.parametrize("name", suite.SUITE)
def test_every_operator_computes_the_same(name: str) -> None:
    program = suite.small(name)
    schedule = default_schedule(program, TARGET)
    check_equivalent(program, schedule.program)
    assert replay(schedule.trace, program).program == schedule.program


@pytest.mark.parametrize(
    "program",
    [
        ops.matmul(m=19, n=34, k=7),
        ops.matmul(m=1, n=40, k=64),
        ops.matmul(m=3, n=1, k=640),
        ops.matmul(m=1, n=1, k=1),
        ops.conv2d(h=17, w=19, ci=3, co=5, k=3, s=1, p=1),
        ops.layer_norm(m=6, n=40),
        ops.argmax(m=5, n=33),
        ops.transpose(m=7, n=13),
        ops.matmul(m=6, n=20, k=10, dtype="int8", acc_dtype="int32"),
        ops.norm(b=1, m=37, n=31),
    ],
    ids=lambda p: p.name,
)
def test_odd_sizes_compute_the_same(program: Program) -> None:
    check_equivalent(program, default_schedule(program, TARGET).program)


def matmul(n: Var | int, m: Var | int, r: Var | int) -> Program:
    a, b = te.placeholder((n, r), name="a"), te.placeholder((r, m), name="b")
    k = te.reduce_axis(r, name="k")
    c = te.compute((n, m), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    d = te.compute((n, m), lambda i, j: te.max(c[i, j], 0.0), name="d")
    return te.program([a, b, d])


@pytest.mark.parametrize("fixed", ["", "n", "m", "r", "nm"])
def test_symbolic_sizes_compute_the_same(fixed: str) -> None:
    sizes = {name: 16 if name in fixed else te.var(name) for name in "nmr"}
    program = matmul(**sizes)
    scheduled = default_schedule(program, TARGET).program
    assert kinds(scheduled) == {"serial", "parallel", "vectorized"}
    for size in (1, 5, 33):
        check_equivalent(program, scheduled, sizes=dict.fromkeys("nmr", size))


def test_softmax_runs_row_by_row_in_one_nest() -> None:
    program = default_schedule(suite.program("SFM"), TARGET).program
    (line,) = outline(program)
    assert line.startswith("p:o_i ")


def test_a_program_that_no_attempt_fits_is_returned_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from metasched.errors import ScheduleError
    from metasched.space import default_schedule as module

    def refuse(*_: object) -> None:
        raise ScheduleError("no")

    monkeypatch.setattr(module, "drafts", refuse)
    program = ops.relu(m=4, n=4)
    assert default_schedule(program, TARGET).program == program


def test_a_machine_with_narrow_vectors_gets_narrower_tiles() -> None:
    narrow = Target("cpu", cores=2, vector_bits=128, vector_registers=16)
    program = ops.matmul(m=64, n=64, k=64)
    wide = max(_vectors(default_schedule(program, TARGET).program))
    assert max(_vectors(default_schedule(program, narrow).program)) < wide


def _vectors(program: Program) -> list[int]:
    return [
        node.extent.value  # type: ignore[attr-defined]
        for node in walk(program.root)
        if isinstance(node, For) and node.kind == "vectorized"
    ]
