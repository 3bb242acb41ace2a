"""Searches against records: what is replayed, what is estimated, and that nothing else decides."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from metasched import ops
from metasched.build import BUILD_CANDIDATE, Candidate
from metasched.cli.app import run
from metasched.database import AbstractDatabase, open_database
from metasched.errors import UsageError
from metasched.measure.records import BuildRequest
from metasched.simulation import Recorded, Simulated, simulate
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.trace import Trace
from metasched.tuning import tune
from tests.core.stub_workers import StubWorkers

pytestmark = pytest.mark.cc

PROGRAM = ops.matmul(m=64, n=48, k=32)
TARGET, SPACE = Target("cpu"), Space.default("cpu")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with forty candidates, whose times are drawn from their programs."""
    url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'tuning.db'}"
    tune(PROGRAM, database=url, workers=StubWorkers(), trials=40, model="analytic")
    return url


@pytest.fixture(scope="module")
def recorded(url: str) -> Iterator[AbstractDatabase]:
    with open_database(url) as database:
        yield database


def request(trace: Trace | None) -> BuildRequest:
    text = None if trace is None else trace.to_json()
    return BuildRequest(1, BUILD_CANDIDATE, Candidate(str(PROGRAM), text, (), TARGET))


@pytest.mark.parametrize("unmeasured", ["nearest", "model"])
def test_what_is_on_record_is_replayed_and_the_rest_lies_among_it(
    recorded: AbstractDatabase, unmeasured: str
) -> None:
    oracle = Recorded(PROGRAM, recorded, TARGET, SPACE, unmeasured=unmeasured)
    records = list(recorded.records(PROGRAM))
    sampled = [r for r in records if Trace.from_json(r.trace).without_postproc().decisions]
    for record in sampled[:10]:
        fate = oracle(request(Trace.from_json(record.trace).without_postproc()))
        assert (fate.program_hash, fate.samples_s) == (record.program_hash, record.samples_s)
        assert fate.run_s == record.timers["run"]
    assert oracle.replayed == 10
    rng = np.random.default_rng(0)
    drawn = [s.trace(row) for s in oracle._structures.seed(rng, 6) for row in s.sample(rng, 4)]
    others = [oracle(request(trace)) for trace in drawn]
    times = [r.time_s for r in records if r.time_s is not None]
    assert any(fate.program_hash.startswith("trace:") for fate in others)
    assert all(min(times) / 9 < fate.samples_s[0] < max(times) * 9 for fate in others)
    assert oracle(request(None)).samples_s, "the default schedule was measured first"
    assert oracle.best_s == min(times)


def outcome(found: Simulated) -> tuple[object, ...]:
    result = found.result
    best = result.best and result.best.trace
    return result.curve, best, result.seconds > 0, found.replayed, result.trials


def test_a_simulation_repeats_bit_for_bit(recorded: AbstractDatabase) -> None:
    before = len(list(recorded.records()))
    one, two = (simulate(PROGRAM, recorded, trials=24, seed=3) for _ in range(2))
    assert outcome(one) == outcome(two)
    assert one.result.trials == 24
    assert outcome(simulate(PROGRAM, recorded, trials=24, seed=4)) != outcome(one)
    assert len(list(recorded.records())) == before, "nothing is written"


def test_many_virtual_workers_end_the_search_too(recorded: AbstractDatabase) -> None:
    found = simulate(PROGRAM, recorded, trials=40, strategy="random", builders=500, runners=500)
    assert found.result.trials == 40
    assert found.replayed > 0


def test_refusals_name_the_remedy(recorded: AbstractDatabase) -> None:
    with pytest.raises(UsageError, match=r"0 measured records.*16 or more; tune it first"):
        simulate(ops.relu(m=8, n=8), recorded)
    with pytest.raises(UsageError, match=r"unknown source of times 'nearby'.*nearest"):
        simulate(PROGRAM, recorded, unmeasured="nearby")


def test_the_command_compares_settings(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    call = ("simulate", "matmul", "m=64", "n=48", "k=32", "--db", url, "--trials", "16")
    call = (*call, "--seeds", "2", "--model", "analytic")
    assert run((*call, "--strategy", "random", "--strategy", "evolutionary", "--json")) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert [one["strategy"] for one in settings] == ["random", "evolutionary"]
    assert all(0 < one["replayed"] <= 1 and one["of_recorded"] > 0 for one in settings)
    assert run((*call, "--strategy", "random")) == 0
    assert "of recorded best" in capsys.readouterr().out
    assert run((*call, "--seeds", "0")) == 2
    assert "--seeds 0 is given" in capsys.readouterr().err
    assert run((*call[:5], "--db", "sqlite:///no.db")) == 2
