"""`metasched model`: what it prints for a small database, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.core.cli.conftest import Cli

pytestmark = pytest.mark.cc


def test_eval_and_train_on_what_tuning_left(cli: Cli) -> None:
    assert cli("tune", "matmul", "m=16", "n=16", "k=16", "--trials", "20").status == 0
    found = cli("model", "eval", "--json")
    assert found.status == 0
    (program,) = json.loads(found.out)["programs"]
    assert program["program"].startswith("matmul ")
    assert program["samples"] == 20
    assert program["unseen"] is None
    assert -1.0 <= program["held_out"]["spearman"] <= 1.0
    assert "held out" in cli("model", "eval").out
    trained = cli("model", "train", "--json")
    assert json.loads(trained.out)["samples"] == 20


def test_refusals_name_the_remedy(cli: Cli) -> None:
    missing = cli("model", "eval")
    assert missing.status == 2
    assert "tune first" in missing.err
    assert cli("tune", "matmul", "m=8", "n=8", "k=8", "--trials", "2").status == 0
    few = cli("model", "eval")
    assert few.status == 2
    assert "tune with more trials" in few.err
    assert "expected at least 2" in cli("model", "eval", "--folds", "1").err
    unknown = cli("model", "train", "--model", "boosted_tree")
    assert unknown.status == 2
    assert "boosted_trees" in unknown.err
