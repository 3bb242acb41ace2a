"""Replays that share beginnings, and structures made of them, against plain replays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from metasched import ops
from metasched.cost.machine import machine_of
from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import AbstractSite
from metasched.schedule.schedule import Schedule
from metasched.search.forks import Forks
from metasched.search.structure_set import StructureSet
from metasched.space.space import Space
from metasched.space.walking import free_steps, structural_steps
from metasched.target import Target
from metasched.trace.instruction import Decision, Instruction
from metasched.trace.trace import Trace

TARGET = Target.parse("cpu")
PROGRAM = ops.softmax(m=12, n=20)


@pytest.fixture(scope="module")
def sketches() -> list[Trace]:
    return [s.trace for s in Space.default("cpu").on(PROGRAM, TARGET).sketches]


def test_structural_steps_are_the_ones_that_reshape_the_program() -> None:
    sch = Schedule(PROGRAM)
    block = sch.get_child_blocks(sch.get_block("root"))[0]
    outer = sch.get_loops(block)[0]
    sch.split(outer, sch.sample_perfect_tile(outer, n=2))
    sch.annotate(block, "unroll", sch.sample_categorical([1, 2], [0.5, 0.5]))
    sch.compute_at(block, sch.sample_compute_location(block))
    kinds = [sch.trace.instructions[i].kind for i in structural_steps(sch.trace)]
    assert kinds == ["sample_compute_location"]
    assert len(free_steps(sch.trace)) == 2


def test_a_shared_replay_equals_a_plain_one(sketches: list[Trace]) -> None:
    rng = np.random.default_rng()
    moved = [sketch for sketch in sketches if structural_steps(sketch)]
    assert moved
    for sketch in moved:
        forks = Forks(sketch, PROGRAM, structural_steps(sketch), most=3)
        for _ in range(6):
            shared = forks.replay(lambda _, site: site.sample(rng))
            plain = replay(sketch, PROGRAM, choices=_Given(shared.trace.decisions))
            assert str(shared.program) == str(plain.program)
            assert shared.trace.instructions == sketch.instructions


class _Given:
    """Decisions of a table; None, a symbol, for others."""

    def __init__(self, decisions: Mapping[int, Decision]) -> None:
        self._decisions = decisions

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        assert index not in self._decisions or site.contains(self._decisions[index])
        return self._decisions.get(index)


def test_equal_beginnings_are_replayed_once(
    sketches: list[Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    run = Schedule.run

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal steps
        steps += 1
        return run(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Schedule, "run", counted)
    sketch = next(s for s in sketches if len(structural_steps(s)) > 1)
    cuts = structural_steps(sketch)
    forks = Forks(sketch, PROGRAM, cuts)
    forks.replay(lambda _, __: -1)
    assert steps == len(sketch.instructions)
    forks.replay(lambda index, _: -1)
    assert steps == 2 * len(sketch.instructions) - cuts[-1]


def test_a_refusal_is_remembered_and_raised_again() -> None:
    sch = Schedule(PROGRAM)
    block = sch.get_child_blocks(sch.get_block("root"))[0]
    sch.compute_at(block, sch.sample_compute_location(block, decision=-1))
    sch.get_block(sch.program.root.name)
    missing = Instruction("get_block", ("no_such_block",), (), ())
    broken = Trace((*sch.trace.instructions, missing), sch.trace.decisions)
    forks = Forks(broken, PROGRAM, structural_steps(broken))
    for _ in range(2):
        with pytest.raises(ScheduleError, match="no_such_block"):
            forks.replay(lambda _, __: -1)
    structures = StructureSet(PROGRAM, [broken], machine_of(TARGET))
    assert structures.seed(np.random.default_rng(), 2) == []
    assert sum(structures.refused.values()) >= 2


@pytest.mark.parametrize("program", [PROGRAM, ops.matmul(m=8, n=12, k=20)], ids=lambda p: p.name)
def test_structures_are_recognised_by_their_decisions(program: Program) -> None:
    rng = np.random.default_rng()
    structures = StructureSet(
        program,
        [s.trace for s in Space.default("cpu").on(program, TARGET).sketches],
        machine_of(TARGET),
    )
    found = structures.seed(rng, 8)
    assert found
    for structure in found:
        row = structure.sample(rng, 1)[0]
        known = structures.of_trace(structure.trace(row))
        assert known is not None
        assert known[0] is structure
        assert (known[1] == row).all()
        other = structures.neighbour(structure, rng)
        assert other is not None
        assert structures.get(other.key[0], dict(other.structural)) is other
