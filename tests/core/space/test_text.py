from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from metasched import ops
from metasched.errors import UsageError
from metasched.schedule.schedule import Schedule
from metasched.space.compare import compare
from metasched.space.default_tiles import default_tiles
from metasched.space.rules import AbstractRule, AutoInline, LeaveAlone, MultiLevelTiling
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.instruction import Ref
from tests.core.space.outline import TARGET

PROGRAM = ops.matmul(m=8, n=8, k=8)


@dataclass(frozen=True, slots=True)
class Own(AbstractRule):
    name: ClassVar[str] = "own"
    sizes: tuple[tuple[str, int], ...] = (("a", 1),)

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        return [schedule]


def rows(schedule: Schedule) -> None:
    i, *_ = schedule.get_loops(schedule.get_block("c"))
    schedule.split(i, schedule.sample_perfect_tile(i, 2))


SPACES = {
    "default": Space.default(),
    "function": Space.from_function(rows),
    "own rule": Space((Own((("b", 2),)), AutoInline()), postprocs=(), mutators=(("unroll", 0.5),)),
    "block rule": Space.default().with_block_rule("c", LeaveAlone()).with_block_rule("d", rows),
    "function option": Space((MultiLevelTiling(fixed=default_tiles),)),
    "union": Space.default() | Space.from_function(rows) | Space((Own(),), postprocs=()),
    "fixed": Space.from_schedule(Space.default().on(PROGRAM, TARGET).sample(1)[0]),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_space_comes_back_from_text(name: str) -> None:
    space = SPACES[name]
    text = space.to_json()
    assert Space.from_json(text) == space
    assert Space.from_json(text).to_json() == text
    assert not compare(space, Space.from_json(text))


def local(schedule: Schedule) -> None:
    """Replaced below by something else of its name."""


HIDDEN = local


def test_what_another_process_cannot_import_is_refused() -> None:
    with pytest.raises(UsageError, match=r"<lambda>' of module '.*test_text' cannot be written"):
        Space.from_function(lambda schedule: None).to_json()

    def inner(schedule: Schedule) -> None:
        del schedule

    with pytest.raises(UsageError, match="define it with def or class at the top of a module"):
        Space.from_function(inner).to_json()


def test_what_is_defined_in_the_main_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HIDDEN, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "local", HIDDEN, raising=False)
    with pytest.raises(UsageError, match="'local' of module '__main__' cannot be written"):
        Space.from_function(HIDDEN).to_json()


NO_RECORD = {"disallow_op": {"record": "os:sep", "options": {}}}


def edited(**changes: Any) -> str:
    data = json.loads(Space((AutoInline(),)).to_json())
    return json.dumps({**data, **changes})


def member(**changes: Any) -> str:
    data = json.loads(Space((AutoInline(),)).to_json())
    return json.dumps({**data, "members": [{**data["members"][0], **changes}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected the JSON text of a space"),
        ("[]", "expected the JSON text of a space"),
        (edited(version=2), "the space is of version 2, this metasched reads version 1"),
        (edited(members=3), "expected the JSON text of a space"),
        (member(extra=1), "a member of a space has no field 'extra'"),
        (member(rules=[{"kind": "auto_inlin", "options": {}}]), "did you mean 'auto_inline'"),
        (member(rules=[{"kind": "auto_inline", "options": {"x": 1}}]), "has no option 'x'"),
        (member(rules=[{"kind": "json:loads", "options": {}}]), "'json:loads' is no rule"),
        (member(functions=["no_such:thing"]), "needs 'no_such:thing', which cannot be imported"),
        (
            member(
                rules=[{"kind": "auto_inline", "options": {"disallow_op": {"record": "os:sep"}}}]
            ),
            "'os:sep' is no record",
        ),
    ],
)
def test_a_text_that_is_no_space_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        Space.from_json(text)
