"""What every primitive owes: a method, a page, requirements, and tests of each of them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from metasched.schedule import reference
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.remedies import REMEDIES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from tests.core.schedule.wording import bare_slug, is_named

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs" / "primitives"

METASCHEDULE: Final = frozenset(
    """
    sample_categorical sample_perfect_tile sample_partitioned_tile sample_compute_location
    get_block get_loops get_child_blocks get_producers get_consumers get_output_blocks
    merge fuse split loop_partition reorder reorder_block_iter_var add_unit_loop
    parallel vectorize bind unroll
    cache_read cache_write reindex_cache_read reindex_cache_write cache_inplace cache_index reindex
    read_at write_at
    compute_at reverse_compute_at compute_inline reverse_compute_inline fuse_reduction_epilogue
    decompose_reduction rfactor
    storage_align set_scope unsafe_set_dtype rolling_buffer annotate_buffer_access
    unsafe_hide_buffer_access
    blockize tensorize annotate unannotate transform_layout transform_block_layout
    decompose_padding pad_einsum enter_postproc
    """.split()
)
"""MetaSchedule's traced kinds."""

NOTHING_TO_REFUSE: Final = frozenset(
    """
    get_loops get_child_blocks get_producers get_consumers get_output_blocks enter_postproc
    """.split()
)
"""Primitives that only take handles, and those are checked where they are resolved."""

KINDS: Final = sorted([*PRIMITIVES, *SAMPLERS])
CHANGING: Final = [k for k in KINDS if not k.startswith(("get_", "sample_", "enter_"))]


@cache
def suite_of(kind: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """The file with the tests of a primitive, its functions, and all that they call."""
    if kind in SAMPLERS:
        path = HERE / "samplers" / f"test_{kind.removeprefix('sample_')}.py"
    elif kind.startswith(("get_", "enter_")):
        path = HERE / "primitives" / "test_lookups.py"
    else:
        path = HERE / "primitives" / f"test_{kind}.py"
    assert path.exists(), f"{kind} has no tests in {path.name}"
    tree = ast.parse(path.read_text())
    functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    called: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called.add(node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
    return path.name, frozenset(functions), frozenset(called)


def test_there_are_the_52_kinds_of_metaschedule() -> None:
    assert len(METASCHEDULE) == 52
    assert METASCHEDULE <= {*KINDS}


def test_every_primitive_belongs_to_one_family() -> None:
    listed = [m for family in reference.families() for m in reference.methods(family)]
    assert sorted(m for m in listed if reference.documented(m)) == KINDS
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("kind", KINDS)
def test_each_says_what_it_requires(kind: str) -> None:
    assert bool(reference.requirements(kind)) is (kind not in NOTHING_TO_REFUSE)


@pytest.mark.parametrize("kind", KINDS)
def test_each_requirement_has_a_test_of_the_same_wording(kind: str) -> None:
    file, functions, _ = suite_of(kind)
    for line in reference.requirements(kind):
        slug = bare_slug(line)
        assert any(is_named(f, slug) for f in functions), f"{file} needs test_requires_{slug}"


@pytest.mark.parametrize("kind", CHANGING)
def test_each_shows_what_it_does(kind: str) -> None:
    assert re.search(r"^::\n\n +\S", reference.documentation(kind), re.M), "no sketch"


@pytest.mark.parametrize("kind", CHANGING)
def test_each_has_golden_numeric_and_trace_tests(kind: str) -> None:
    file, _, called = suite_of(kind)
    assert kind in called, f"{file} never applies {kind}"
    assert called & {"body", "golden"}, f"{file} compares no program with a golden text"
    # `check` also replays from JSON and from Python text.
    assert called & {"check", "check_valid"}, f"{file} never checks the result and the trace"


@pytest.mark.parametrize("kind", sorted({*KINDS} - {*CHANGING}))
def test_lookups_and_samplings_have_trace_tests(kind: str) -> None:
    file, _, called = suite_of(kind)
    assert kind in called, f"{file} never applies {kind}"
    assert called & {"check", "check_round_trip"}, f"{file} never replays the trace"


def test_every_remedy_is_for_a_rule() -> None:
    lines = [line for kind in KINDS for line in reference.requirements(kind)]
    unused = [rule for rule in REMEDIES if not any(line.startswith(rule) for line in lines)]
    assert not unused, f"no Requires line begins as {unused}"


def test_the_pages_are_current() -> None:
    there = {path.name: path.read_text() for path in DOCS.glob("*.md")}
    assert there == reference.pages(), f"run: {reference.COMMAND}"


def test_the_table_lists_every_kind() -> None:
    table = re.findall(r"^\| \[`(\w+)`\]", reference.pages()["index.md"], re.M)
    assert sorted(table) == KINDS
    assert all(callable(getattr(Schedule, kind)) for kind in table)
