from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import ScheduleError, UsageError
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.primitives.add_unit_loop import add_unit_loop
from metasched.schedule.primitives.primitive import Primitive
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.testing.round_trip import check_round_trip
from metasched.trace.instruction import Ref

MATMUL = ops.matmul(m=4, n=4, k=4)


def two_unit_loops(state: State, block_or_loop: str) -> tuple[State, tuple[str, ...]]:
    """Two loops of one iteration."""
    state, (inner,) = add_unit_loop(state, block_or_loop)
    state, (outer,) = add_unit_loop(state, inner)
    return state, (outer, inner)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    members = dict(PRIMITIVES._members)
    members["two_unit_loops"] = Primitive("two_unit_loops", two_unit_loops, output="loop")
    monkeypatch.setattr(PRIMITIVES, "_members", members)


@pytest.mark.usefixtures("registered")
def test_a_primitive_registered_elsewhere_is_a_method_and_replays() -> None:
    sch = Schedule(MATMUL)
    outer, inner = sch.two_unit_loops(sch.get_block("c"))  # type: ignore[attr-defined]
    assert {outer.kind, inner.kind} == {"loop"}
    assert len(sch.get_loops(sch.get_block("c"))) == 5
    check_round_trip(sch)


def test_a_primitive_is_applied_by_name() -> None:
    sch = Schedule(MATMUL)
    block = sch.apply("get_block", "c")
    assert isinstance(block, Ref)
    loops = sch.apply("get_loops", block)
    assert isinstance(loops, tuple)
    assert sch.apply("parallel", loops[0]) is None
    with pytest.raises(ScheduleError, match="parallel: expected"):
        sch.apply("parallel", loops[2])
    with pytest.raises(UsageError, match="unknown primitive 'paralel'; did you mean 'parallel'"):
        sch.apply("paralel", loops[0])


def test_a_misspelt_method_has_a_hint() -> None:
    with pytest.raises(AttributeError, match="no method 'paralel'; did you mean 'parallel'"):
        Schedule(MATMUL).paralel  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(Schedule(MATMUL), "__deepcopy__")
