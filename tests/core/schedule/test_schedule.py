from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from metasched.errors import ScheduleError, UsageError
from metasched.schedule.arguments import parameters
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import Replay
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import GIVES_SEVERAL, Ref, has_effect
from tests.core.schedule.programs import check, matmul, two_stages

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
    inputs = [name for name, _ in wanted.inputs]
    least = len(inputs) - wanted.optional
    assert required == inputs[:least]
    assert options == [*inputs[least:], *wanted.options]
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


@pytest.mark.parametrize("kind", KINDS)
def test_methods_say_what_the_primitives_say(kind: str) -> None:
    found = member(kind)
    method = inspect.getdoc(getattr(Schedule, kind)) or ""
    function = inspect.getdoc(found.site if kind in SAMPLERS else found.apply) or ""
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


def test_names_stand_for_blocks_and_loops() -> None:
    named, handled = Schedule(two_stages()), Schedule(two_stages())
    named.parallel("i")
    named.transform_block_layout("c", "i, j -> [j, i]")
    named.compute_at("b", named.get_loops("c")[0])
    b, c = handled.get_block("b"), handled.get_block("c")
    handled.parallel(handled.get_loops(b)[0])
    handled.transform_block_layout(c, "i, j -> [j, i]")
    handled.compute_at(b, handled.get_loops(c)[0])
    assert named.program == handled.program
    check(named)
    with pytest.raises(ScheduleError, match="there is no block 'd'"):
        named.get_loops("d")


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


def test_forked_seeds_differ_and_leave_the_draws_alone() -> None:
    sch, other = Schedule(matmul(m=64 * 27), seed=1), Schedule(matmul(m=64 * 27), seed=1)
    assert len({sch.fork_seed() for _ in range(8)}) == 8
    assert sch.fork_seed() != other.fork_seed() == Schedule(matmul(), seed=1).fork_seed()
    drawn = [
        [s.int_of(f) for f in s.sample_perfect_tile(s.get_loops(s.get_block("c"))[0], 4)]
        for s in (sch, other)
    ]
    assert drawn[0] == drawn[1]


def test_a_replay_has_no_seed_to_fork() -> None:
    sch = Schedule(matmul(), choices=Replay({}))
    with pytest.raises(UsageError, match=r"draws its choices, got .* from Replay; call seed"):
        sch.fork_seed()
    sch.seed(3)
    assert sch.fork_seed() >= 0


def test_work_on_knows_the_one_program() -> None:
    sch = Schedule(matmul())
    sch.work_on("matmul")
    assert sch.trace.instructions == ()
    with pytest.raises(UsageError, match="expected the program 'matmul', got 'main'; make a"):
        sch.work_on("main")


def test_show_prints_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    sch = Schedule(matmul())
    sch.show()
    assert capsys.readouterr().out == f"{sch.program}\n"


def test_show_marks_what_the_last_step_changed(capsys: pytest.CaptureFixture[str]) -> None:
    sch = Schedule(matmul())
    i, j, _ = sch.get_loops(sch.get_block("c"))
    sch.parallel(i)
    sch.unroll(j)
    sch.get_loops(sch.get_block("c"))
    sch.show(diff=True)
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line[0] != " "] == [
        "-         for j in serial(6):", "+         for j in unrolled(6):"
    ]  # fmt: skip
    assert [line[2:] for line in shown if line[0] != "-"] == str(sch.program).splitlines()
    sch.show(diff=sch.original)
    assert sum(line[0] == "+" for line in capsys.readouterr().out.splitlines()) == 2


def test_show_has_colours_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    sch = Schedule(matmul())
    sch.unroll(sch.get_loops(sch.get_block("c"))[0])
    for diff in (False, True):
        sch.show(diff)
        shown = capsys.readouterr().out
        assert "\x1b[" in shown
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert "unrolled(8)" in plain


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
        (lambda s, i: s.get_block(None), "get_block takes name as input 0, got None"),
        (lambda s, i: s.compute_at("c", i, index="0"), "option 'index' cannot be '0'"),
        (
            lambda s, i: s.sample_perfect_tile(i, 2, decision=[2.0, 4]),
            r"sample_perfect_tile: expected a decision of whole numbers, got \[2.0, 4\]",
        ),
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
