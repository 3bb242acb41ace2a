from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest

from metasched.errors import ScheduleError, UsageError
from metasched.schedule.arguments import parameters
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import GIVES_SEVERAL, Ref, has_effect
from tests.core.schedule.programs import matmul

KINDS = [*PRIMITIVES, *SAMPLERS]


def member(kind: str):  # type: ignore[no-untyped-def]
    return SAMPLERS[kind] if kind in SAMPLERS else PRIMITIVES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_methods_have_the_parameters_of_the_primitives(kind: str) -> None:
    signature = inspect.signature(getattr(Schedule, kind))
    taken = [p for p in signature.parameters.values() if p.name not in ("self", "decision")]
    wanted = parameters(kind)
    plain = [p for p in taken if p.kind is not p.VAR_POSITIONAL]
    required = [p.name for p in plain if p.default is p.empty]
    options = [p.name for p in plain if p.default is not p.empty]
    assert required == [name for name, _ in wanted.inputs]
    assert options == list(wanted.options)
    assert (len(plain) < len(taken)) is (wanted.rest is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_methods_have_the_defaults_of_the_primitives(kind: str) -> None:
    found = member(kind)
    function = found.site if kind in SAMPLERS else found.apply
    defaults = {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.default is not p.empty
    }
    taken = inspect.signature(getattr(Schedule, kind)).parameters
    assert {name: taken[name].default for name in defaults} == defaults


@pytest.mark.parametrize("kind", KINDS)
def test_methods_give_what_the_primitives_give(kind: str) -> None:
    found = member(kind)
    several = found.many
    expected = "None" if found.output is None else "tuple[Ref, ...]" if several else "Ref"
    assert inspect.signature(getattr(Schedule, kind)).return_annotation == expected
    assert (kind in GIVES_SEVERAL) is several


@pytest.mark.parametrize("kind", [*PRIMITIVES])
def test_methods_say_what_the_primitives_say(kind: str) -> None:
    method = inspect.getdoc(getattr(Schedule, kind)) or ""
    function = inspect.getdoc(PRIMITIVES[kind].apply) or ""
    assert method.splitlines()[0] == function.splitlines()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_only_lookups_and_samplings_have_no_effect(kind: str) -> None:
    lookup = kind.startswith("get_")
    assert has_effect(kind) is not (lookup or kind in SAMPLERS)


def test_a_refused_primitive_changes_nothing() -> None:
    sch = Schedule(matmul())
    _, _, k = sch.get_loops(sch.get_block("c"))
    program, trace = sch.program, sch.trace
    with pytest.raises(ScheduleError, match="a loop for spatial iterations only"):
        sch.parallel(k)
    assert sch.program is program
    assert sch.trace == trace


def test_a_copy_goes_its_own_way() -> None:
    sch = Schedule(matmul())
    i, j, _ = sch.get_loops(sch.get_block("c"))
    other = sch.copy()
    other.fuse(i, j)
    sch.parallel(i)
    assert "parallel" not in str(other.program)
    assert "i_j" not in str(sch.program)


def test_copies_draw_their_own_choices() -> None:
    sch = Schedule(matmul(m=64 * 27), seed=1)
    i, _, _ = sch.get_loops(sch.get_block("c"))
    draws = {tuple(map(other.int_of, other.sample_perfect_tile(i, 4))) for other in
             (sch.copy() for _ in range(8))}  # fmt: skip
    assert len(draws) > 1


def test_equal_seeds_draw_alike() -> None:
    def drawn(seed: int) -> list[int | None]:
        sch = Schedule(matmul(m=64 * 27), seed=seed)
        i, _, _ = sch.get_loops(sch.get_block("c"))
        first = [sch.int_of(r) for r in sch.sample_perfect_tile(i, 4)]
        sch.seed(seed)
        assert [sch.int_of(r) for r in sch.sample_perfect_tile(i, 4)] == first
        return first

    assert drawn(3) == drawn(3)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1


def test_handles_of_another_schedule_are_refused() -> None:
    first, second = Schedule(matmul()), Schedule(matmul())
    block = first.get_block("c")
    with pytest.raises(ScheduleError, match="handle b0 belongs to another schedule"):
        second.get_loops(block)


def test_what_is_no_handle_is_refused() -> None:
    sch = Schedule(matmul())
    with pytest.raises(UsageError, match="expected a handle, a number or a text"):
        sch.get_loops(object())  # type: ignore[arg-type]


def test_new_handles_never_take_the_name_of_old_ones() -> None:
    sch = Schedule(matmul())
    sch.get_loops(sch.get_block("c"))
    again = Schedule(matmul())
    for step in sch.trace.instructions[:1]:
        again.run(step)
    again._values[Ref("loop", "l1")] = "i"  # pyright: ignore[reportPrivateUsage]
    refs = again.get_loops(again.get_block("c"))
    assert len({ref.name for ref in refs} | {"l1"}) == 4


def test_show_prints_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    sch = Schedule(matmul())
    sch.show()
    assert capsys.readouterr().out == f"{sch.program}\n"


def test_schedules_import_nothing_heavy() -> None:
    heavy = "{'xgboost', 'sqlalchemy', 'optuna', 'rich', 'scipy'}"
    code = f"import sys; import metasched.schedule.replay; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s, i: s.split(i, 3), "split takes factors as input 1, got 3"),
        (lambda s, i: s.split(i, [2.5, None]), "split takes factors as input 1, got"),
        (lambda s, i: s.split(3, [2, None]), "split takes loop as input 0, got 3"),
        (lambda s, i: s.split(i, [2], disable_predication=1), "'disable_predication' cannot be 1"),
        (lambda s, i: s.fuse(i, 7), "fuse takes a loop or block as input 1, got 7"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(
    wrong: Callable[[Schedule, Ref], object], message: str
) -> None:
    sch = Schedule(matmul())
    (i, *_) = sch.get_loops(sch.get_block("c"))
    state = sch.state
    with pytest.raises(ScheduleError, match=message):
        wrong(sch, i)
    assert sch.state is state
