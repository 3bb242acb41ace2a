"""Random programs times random schedules: the result stays, and refusals have a reason.

`random_programs` draws programs, `steps` the primitives, `random_schedules` checks; hypothesis
shrinks what fails. What has failed once is in `corpus`. `docs/contributing.md` says how to soak.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.schedule.random_schedules import FAILED, check_schedule, random_schedule, replayed

pytestmark = pytest.mark.cc
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.txt"))
SHARDS = 8


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_failed_once(path: Path, tmp_path: Path) -> None:
    check_schedule(replayed(path.read_text()), tmp_path)


def test_sample(tmp_path: Path) -> None:
    search = searching(tmp_path, Counter())
    settings(max_examples=120, deadline=None, derandomize=True)(search)()


@pytest.mark.soak
@pytest.mark.parametrize("shard", range(SHARDS))
def test_soak(shard: int, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Under the profile ``soak``; `soak` adds the shards up and prints the table."""
    tally = Counter[str]()
    searching(tmp_path, tally)()
    record_property("tally", json.dumps(tally))


def searching(folder: Path, tally: Counter[str]) -> Callable[[], None]:
    """A hypothesis test of random schedules, which leaves the text of what failed."""

    @given(rng=st.randoms(use_true_random=False))
    def search(rng: random.Random) -> None:
        try:
            check_schedule(random_schedule(rng), folder, tally)
        except Exception as error:
            FAILED.mkdir(exist_ok=True)
            text = "\n".join(getattr(error, "__notes__", []))
            (FAILED / f"schedule_{folder.name}.txt").write_text(text)
            raise

    return search
