from __future__ import annotations

import json

import pytest

from metasched.cli.family import load_family, parse_sizes
from metasched.errors import UsageError
from metasched.ir.expr import int_value
from tests.core.cli.conftest import Cli

WORDS = ("matmul", "n=4", "k=4")


def test_a_range_leaves_one_size_open() -> None:
    family = load_family("matmul", ["m=2..6:2", "n=8", "k=4"])
    assert family is not None
    assert (family.key, family.text, family.sizes) == ("m", "2..6:2", (2, 4, 6))
    assert [int_value(n) for n in family.make(5).params[0].shape] == [5, 4]


def test_without_a_range_there_is_no_family() -> None:
    assert load_family("matmul", ["m=2", "n=8", "k=4"]) is None


def test_sizes_count_as_often_as_they_are_named() -> None:
    assert parse_sizes("m", "1..3,3,7..7") == (1, 2, 3, 3, 7)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["m=1..4", "n=1..4", "k=4"], "has ranges for m and n; one size at most"),
        (["m=0..4", "n=4", "k=4"], "'0..4' is no range; expected FIRST..LAST"),
        (["m=4..1", "n=4", "k=4"], "'4..1' is no range"),
        (["m=1..4:0", "n=4", "k=4"], "'1..4:0' is no range"),
        (["m=1..", "n=4", "k=4"], "'1..' is no range"),
        (["m=1..9999999", "n=4", "k=4"], "with numbers from 1 to 1000000"),
        (["m=1..4", "n=4"], "also needs k=..."),
    ],
)
def test_what_is_no_range_is_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_family("matmul", pairs)


@pytest.mark.cc
def test_a_range_is_tuned_and_shown(cli: Cli) -> None:
    asked = ("m=1..8", *WORDS[1:])
    tuned = cli("tune", "matmul", *asked, "--schedules", "1", "--sample", "2", "--trials", "2")
    assert tuned.status == 0, tuned.err
    lines = tuned.out.splitlines()
    assert lines[0].startswith("1 schedules, ")
    assert lines[-1] == "see it:  metasched query matmul m=1..8 n=4 k=4 --db sqlite:///metasched.db"
    shown = cli("query", "matmul", *asked)
    assert shown.out.splitlines() == lines[:-1]
    found = json.loads(cli("query", "matmul", *asked, "--json").out)
    assert found["key"] == "m"
    assert len(found["schedules"]) == 1
    assert {one["size"] for one in found["sample"]} >= {1, 8}
    missing = cli("query", "matmul", "m=1..8", "n=4", "k=8")
    assert missing.status == 1
    assert "no schedules for a range of m on cpu" in missing.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("m=1..8", "--seconds", "1"), "is bounded by --trials, not by --seconds"),
        (("m=1..8", "--workers", "locol"), "unknown workers 'locol'; did you mean 'local'"),
        (("m=8", "--schedules", "2"), "are for a range of sizes, such as m=1..512"),
        (("m=1..8", "--schedules", "0"), "not in the range x>=1"),
    ],
)
def test_options_that_do_not_go_together(cli: Cli, words: tuple[str, ...], message: str) -> None:
    done = cli("tune", *WORDS, *words)
    assert done.status == 2
    assert message in done.err
