"""Tests that every tuning database passes.

Subclass `DatabaseContract` in a test module and override the fixture ``database``; a database that
several processes share subclasses `SharedDatabaseContract` and overrides ``url`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from metasched.database import (
    AbstractDatabase,
    JobStatus,
    MemoryDatabase,
    Trust,
    TuningRecord,
    Workload,
    open_database,
)
from metasched.database.records import candidate_key
from metasched.errors import DatabaseError, UsageError
from metasched.measure.records import Status
from metasched.ops import matmul
from metasched.testing.database_records import (
    EVIDENCE,
    MATMUL,
    SOFTMAX,
    make_failure,
    make_record,
    make_target,
    write_many,
)

NOW = datetime(2025, 2, 3, 4, 5, 6, 7, tzinfo=UTC)
FAILURES = tuple(status for status in Status if status != Status.OK)


class DatabaseContract:
    """What `metasched.database.AbstractDatabase` promises, one test for each promise."""

    @pytest.fixture
    def database(self) -> Iterator[AbstractDatabase]:
        """Yield an empty database."""
        raise NotImplementedError("override the fixture `database`")

    def test_a_record_comes_back_as_it_was_put(self, database: AbstractDatabase) -> None:
        """Every field survives, times and seconds to the last bit."""
        record = make_record(3, samples_s=(1 / 3, 1e-9, 5e-324), message="naïve\n✓")
        database.put(record)
        assert list(database.records()) == [record]
        assert database.best(MATMUL.hash, make_target()) == record

    def test_top_is_ordered_by_the_median(self, database: AbstractDatabase) -> None:
        """One lucky sample does not win, and ties keep the order of writing."""
        lucky = make_record(0, samples_s=(1e-6, 9.0, 9.0))
        tie = make_record(5, samples_s=(2e-3,))
        database.put_many((lucky, make_record(2), make_record(1), tie))
        top = database.top(MATMUL.hash, make_target(), 10)
        assert [r.program_hash for r in top] == ["program-1", "program-5", "program-2", "program-0"]
        assert database.top(MATMUL.hash, make_target(), 2) == top[:2]
        assert database.best(MATMUL.hash, make_target()) == top[0]
        assert database.traces(MATMUL.hash, make_target(), 1) == (top[0].trace,)

    def test_an_empty_database_serves_nothing(self, database: AbstractDatabase) -> None:
        """A miss is ``None``, not an error."""
        assert database.best(MATMUL.hash, make_target()) is None
        assert database.top(MATMUL.hash, make_target(), 5) == ()
        assert list(database.records()) == []

    @pytest.mark.parametrize("status", FAILURES)
    def test_a_failure_is_never_served(self, database: AbstractDatabase, status: Status) -> None:
        """Not even with samples and evidence."""
        database.put(make_failure(0, status, samples_s=(1e-9,), evidence=EVIDENCE))
        assert database.best(MATMUL.hash, make_target()) is None
        assert [record.status for record in database.records()] == [status]

    @pytest.mark.parametrize(
        "changes",
        [
            {"samples_s": ()},
            {"evidence": {}},
            {"evidence": {**EVIDENCE, "max_error": 1.0}},
            {"evidence": {**EVIDENCE, "max_error": float("nan")}},
            {"evidence": {**EVIDENCE, "max_error": "0"}},
            {"evidence": {**EVIDENCE, "tolerance": None}},
        ],
    )
    def test_what_is_not_proved_is_not_served(
        self, database: AbstractDatabase, changes: dict[str, Any]
    ) -> None:
        """A success without a time, or whose evidence does not pass, stays in the store."""
        database.put(make_record(0, **changes))
        assert database.best(MATMUL.hash, make_target()) is None
        assert database.stats().records == 1
        assert database.stats().servable == 0

    def test_a_lookup_honours_the_target(self, database: AbstractDatabase) -> None:
        """A record for another target is never served, however fast."""
        mine, other = make_target(cores=2), make_target(cores=64)
        database.put(make_record(0, target=other))
        assert database.best(MATMUL.hash, mine) is None
        database.put(make_record(9, target=mine))
        assert database.top(MATMUL.hash, mine, 9) == (make_record(9, target=mine),)
        assert database.targets(MATMUL.hash) == (other, mine)

    def test_a_lookup_honours_the_workload(self, database: AbstractDatabase) -> None:
        """A record of another workload is never served."""
        database.put(make_record(0, workload=SOFTMAX))
        assert database.best(MATMUL.hash, make_target()) is None
        assert database.workloads() == (SOFTMAX,)
        assert database.targets(MATMUL.hash) == ()

    def test_a_program_is_its_own_key(self, database: AbstractDatabase) -> None:
        """A program built again is found, one of another shape is not, and the miss says why."""
        program, larger = matmul(m=8, n=8, k=8), matmul(m=16, n=8, k=8)
        record = make_record(0, workload=Workload.from_program(program))
        database.put(record)
        assert database.best(matmul(m=8, n=8, k=8), make_target()) == record
        assert database.measured_hashes(program, make_target()) == {record.program_hash}
        assert database.best(larger, make_target()) is None
        assert "(16, 8)" in database.explain_miss(larger, make_target())

    def test_a_candidate_is_kept_once_and_gains_samples(self, database: AbstractDatabase) -> None:
        """A finalist that is measured again is timed better; a copy counts once."""
        first, again = make_record(0, samples_s=(3.0,)), make_record(0, samples_s=(1.0, 2.0))
        database.put_many((first, again, first))
        database.put(again)
        assert [record.samples_s for record in database.records()] == [(3.0, 1.0, 2.0)]
        best = database.best(MATMUL.hash, make_target())
        assert best is not None
        assert best.time_s == 2.0

    def test_a_wrong_result_is_final(self, database: AbstractDatabase) -> None:
        """A candidate that failed the check once is not served, before or after a success."""
        wrong = make_failure(0, Status.WRONG_RESULT)
        database.put(make_record(0))
        database.put(wrong)
        assert database.best(MATMUL.hash, make_target()) is None
        database.put(make_record(0))
        assert list(database.records()) == [wrong]

    def test_a_success_outlives_a_failure(self, database: AbstractDatabase) -> None:
        """A worker that was lost does not take a good record along, and a retry can succeed."""
        database.put_many((make_failure(0, Status.LOST), make_record(0), make_record(1)))
        database.put_many((make_failure(1, Status.RUN_TIMEOUT),))
        assert list(database.records()) == [make_record(0), make_record(1)]

    def test_resume_measures_nothing_twice(self, database: AbstractDatabase) -> None:
        """Every outcome is known on the next start, but for candidates that were lost."""
        for index, status in enumerate(FAILURES):
            database.put(make_failure(index, status, program_hash=status))
        database.put(make_record(0, program_hash="good"))
        database.put(make_record(0, program_hash="elsewhere", target=make_target(cores=99)))
        database.put(make_record(0, program_hash="other", workload=SOFTMAX))
        expected = {"good", *map(str, FAILURES)} - {str(Status.LOST)}
        assert database.measured_hashes(MATMUL.hash, make_target()) == expected

    def test_records_match_every_filter(self, database: AbstractDatabase) -> None:
        """Workload, target, job and status narrow a scan, one by one and together."""
        job = database.start_job({})
        target = make_target(cores=99)
        a = make_record(0, job_id=job.id)
        b = make_record(1, target=target)
        c = make_failure(2, Status.BUILD_ERROR, workload=SOFTMAX, job_id=job.id)
        database.put_many((a, b, c))
        assert list(database.records(MATMUL.hash)) == [a, b]
        assert list(database.records(target=target)) == [b]
        assert list(database.records(job_id=job.id)) == [a, c]
        assert list(database.records(statuses=[Status.BUILD_ERROR])) == [c]
        assert list(database.records(statuses=[])) == []
        assert list(database.records(MATMUL.hash, make_target(), job.id, [Status.OK])) == [a]
        assert list(database.records(SOFTMAX.hash, target)) == []

    def test_a_scan_of_many_records_is_whole(self, database: AbstractDatabase) -> None:
        """However a database pages its scans, each record comes once and in order."""
        records = [make_record(index) for index in range(1100)]
        database.put_many(iter(records))
        assert [r.program_hash for r in database.records()] == [r.program_hash for r in records]

    def test_a_scan_may_write_as_it_goes(self, database: AbstractDatabase) -> None:
        """Reading holds nothing that would stop a writer."""
        database.put_many(make_record(index) for index in range(3))
        for record in database.records():
            database.put(replace(record, samples_s=(7.0,)))
        assert [record.samples_s[-1] for record in database.records()] == [7.0] * 3

    def test_jobs(self, database: AbstractDatabase) -> None:
        """A job is running until it ends; settings and order are kept."""
        first = database.start_job({"trials": 64, "space": {"rules": ["tiling"]}})
        second = database.start_job({})
        assert first.status == JobStatus.RUNNING
        assert database.jobs() == (first, second)
        ended = database.end_job(first.id, JobStatus.INTERRUPTED)
        assert ended.ended_at is not None
        assert ended.ended_at >= first.created_at
        assert database.job(first.id) == ended
        assert replace(ended, ended_at=None, status=JobStatus.RUNNING) == first
        assert database.end_job(second.id).status == JobStatus.DONE

    def test_an_unknown_job_is_refused(self, database: AbstractDatabase) -> None:
        """Nothing of the batch is written."""
        with pytest.raises(DatabaseError, match="unknown job 'nobody'; start it first"):
            database.put_many((make_record(0), make_record(1, job_id="nobody")))
        assert list(database.records()) == []
        with pytest.raises(DatabaseError, match="unknown job 'nobody'"):
            database.end_job("nobody")

    def test_stats(self, database: AbstractDatabase) -> None:
        """Counts cover everything, or one workload or target."""
        job = database.start_job({})
        database.start_job({})
        database.put_many((make_record(0, job_id=job.id), make_record(1, evidence={})))
        database.put(make_failure(0, Status.LOST, workload=SOFTMAX, target=make_target(cores=99)))
        whole = database.stats()
        assert (whole.workloads, whole.targets, whole.records) == (2, 2, 3)
        assert (whole.servable, whole.jobs) == (1, 2)
        assert whole.by_status == {Status.OK: 2, Status.LOST: 1}
        part = database.stats(MATMUL.hash)
        assert (part.workloads, part.records, part.jobs) == (1, 2, 1)
        assert database.stats(MATMUL.hash, make_target(cores=99)).records == 0

    def test_prune_keeps_the_best_of_each_key(self, database: AbstractDatabase) -> None:
        """Failures and slow candidates go; every workload and target keeps its own best."""
        other = make_record(7, target=make_target(cores=99))
        soft = make_record(8, workload=SOFTMAX)
        database.put_many(make_record(index) for index in (4, 2, 3, 1))
        database.put_many((make_failure(9, Status.RUN_ERROR), other, soft))
        assert database.prune(keep=2) == 3
        assert list(database.records()) == [make_record(2), make_record(1), other, soft]
        assert database.prune(keep=2) == 0

    @pytest.mark.parametrize("count", [0, -1])
    def test_counts_below_one_are_refused(self, database: AbstractDatabase, count: int) -> None:
        """The message names the argument."""
        with pytest.raises(UsageError, match=f"k is {count}; expected a count of at least 1"):
            database.top(MATMUL.hash, make_target(), count)
        with pytest.raises(UsageError, match=f"keep is {count}; expected"):
            database.prune(count)

    def test_models(self, database: AbstractDatabase) -> None:
        """A model is found under its keys only, the last one saved."""
        database.save_model("cpu:x", "xgboost", "[1]", features="1")
        database.save_model("cpu:x", "xgboost", "[2]", features="1")
        assert database.load_model("cpu:x", "xgboost", features="1") == "[2]"
        assert database.load_model("cpu:x", "xgboost", features="2") is None
        assert database.load_model("cpu:y", "xgboost", features="1") is None

    def test_dispatch_trees(self, database: AbstractDatabase) -> None:
        """A tree is found under its keys only, the last one saved."""
        database.save_dispatch("family", "cpu:x", "matmul", "[1]")
        database.save_dispatch("family", "cpu:x", "matmul", "[2]")
        assert database.load_dispatch("family", "cpu:x") == "[2]"
        assert database.load_dispatch("family", "cpu:y") is None
        assert database.load_dispatch("other", "cpu:x") is None
        assert database.dispatches() == (("family", "cpu:x", "[2]"),)

    def test_a_miss_names_the_part_of_the_key(self, database: AbstractDatabase) -> None:
        """Empty store, workload, target, outcome: each has its own line."""
        mine, other = make_target(cores=2), make_target(cores=64)
        assert "the database is empty" in database.explain_miss(MATMUL.hash, mine)
        database.put(make_failure(0, Status.BUILD_ERROR, target=other))
        assert "no workload" in database.explain_miss(SOFTMAX.hash, mine)
        assert "cores 64 (asked 2)" in database.explain_miss(MATMUL.hash, mine)
        assert "none may be served: 1 build_error" in database.explain_miss(MATMUL.hash, other)
        database.put(make_record(1, target=other))
        assert "no miss" in database.explain_miss(MATMUL.hash, other)

    def test_export_and_import(self, database: AbstractDatabase, tmp_path: Path) -> None:
        """What was written comes back equal, and a second import changes nothing."""
        job = database.start_job({"seed": 0})
        records = _varied(job.id)
        database.put_many(records)
        assert database.export(tmp_path / "all.jsonl") == len(records)
        with MemoryDatabase() as copy:
            assert copy.import_(tmp_path / "all.jsonl") == len(records)
            assert list(copy.records()) == records
            assert copy.jobs() == (job,)
        assert database.import_(tmp_path / "all.jsonl") == len(records)
        assert list(database.records()) == records
        assert [path.name for path in tmp_path.glob("*.jsonl*")] == ["all.jsonl"]

    def test_merge(self, database: AbstractDatabase) -> None:
        """Two stores become one: jobs and records of both, samples of a shared candidate joined."""
        database.put(make_record(0, samples_s=(1.0,)))
        with MemoryDatabase() as other:
            job = other.start_job({})
            other.put_many((make_record(0, samples_s=(2.0,)), make_record(1, job_id=job.id)))
            report = database.merge(other, source="theirs")
            assert (report.records, report.shared) == (2, 1)
            assert [found.ratio for found in report.disagreements] == [2.0]
            merged = list(database.records())
            assert database.merge(other, source="theirs") == report
            assert list(database.records()) == merged
        assert [record.trust for record in merged] == [Trust.SUSPECT, Trust.UNVERIFIED]
        assert "theirs timed it 2.00 times" in merged[0].trust_note
        assert [dict(r.sources) for r in merged] == [{"theirs": (2.0,)}, {"theirs": (0.002,)}]
        samples = [record.samples_s for record in database.records()]
        assert samples == [(1.0, 2.0), (0.002,)]
        assert database.jobs() == (job,)
        with pytest.raises(UsageError, match="cannot be merged into itself"):
            database.merge(database)

    def test_stores_that_agree_merge_without_suspicion(self, database: AbstractDatabase) -> None:
        """Samples of both count, and a store that is merged back adds nothing."""
        database.put(make_record(0, samples_s=(1.0, 1.02, 1.01)))
        with MemoryDatabase() as other:
            other.put(make_record(0, samples_s=(1.03, 1.0)))
            report = database.merge(other, source="theirs")
            assert (report.shared, report.disagreements) == (1, ())
            other.merge(database, source="ours")
            (theirs,) = other.records()
        (ours,) = database.records()
        assert ours.trust is Trust.UNVERIFIED
        assert sorted(theirs.samples_s) == sorted(ours.samples_s)

    def test_what_is_known_of_candidates(self, database: AbstractDatabase) -> None:
        """Each candidate on record is found under its key, and nothing else."""
        database.put_many((make_record(0), make_record(1), make_record(2, workload=SOFTMAX)))
        asked = [make_record(1), make_record(2), make_record(3), make_record(2, workload=SOFTMAX)]
        found = database.known(asked)
        assert found == {candidate_key(r): r for r in (asked[0], asked[3])}
        assert database.known([]) == {}

    def test_near_ties_do_not_exchange_the_winner(self, database: AbstractDatabase) -> None:
        """A later record is served once it is faster than the noise of the times."""
        first = make_record(0, samples_s=(1.0, 1.01, 0.99, 1.0, 1.02, 0.98))
        tie = make_record(1, samples_s=(0.995, 1.0, 0.99, 0.98, 1.01, 1.0))
        faster = make_record(2, samples_s=(0.9,) * 6)
        database.put_many((first, tie))
        assert database.top(MATMUL.hash, make_target(), 1) == (tie,)
        assert database.best(MATMUL.hash, make_target()) == first
        database.put(faster)
        assert database.best(MATMUL.hash, make_target()) == faster

    def test_a_noisy_worker_tells_less(self, database: AbstractDatabase) -> None:
        """The noise floor of the worker counts where its samples happen to agree."""
        noisy = {**EVIDENCE, "noise_floor": 0.02}
        first = make_record(0, samples_s=(1.005,) * 3)
        database.put_many((first, make_record(1, samples_s=(1.0,) * 3, evidence=noisy)))
        assert database.best(MATMUL.hash, make_target()) == first

    def test_a_verdict_is_kept_and_a_stale_record_is_not_served(
        self, database: AbstractDatabase
    ) -> None:
        """The newest verdict counts; a verification brings its evidence along."""
        database.put_many((make_record(0), make_record(1)))
        when = datetime(2025, 1, 1, tzinfo=UTC)
        stale = make_record(0, trust=Trust.STALE, trust_note="no such block", verified_at=when)
        database.put(stale)
        assert database.best(MATMUL.hash, make_target()) == make_record(1)
        assert database.stats().servable == 1
        later = when + timedelta(days=1)
        evidence = {**EVIDENCE, "seed": 7}
        again = replace(make_record(0), trust=Trust.CURRENT, verified_at=later, evidence=evidence)
        database.put(again)
        database.put(stale)
        best = database.best(MATMUL.hash, make_target())
        assert best is not None
        assert (best.trust, best.verified_at, best.evidence["seed"]) == (Trust.CURRENT, later, 7)

    def test_a_bad_line_imports_nothing(self, database: AbstractDatabase, tmp_path: Path) -> None:
        """The good lines before it are not written either."""
        path = tmp_path / "bad.jsonl"
        with MemoryDatabase() as source:
            source.start_job({})
            source.put_many((make_record(0), make_record(1)))
            source.export(path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:-1], lines[-1].replace('"ok"', '"fine"')]))
        with pytest.raises(DatabaseError, match=r"bad\.jsonl' line 6: unknown status 'fine'"):
            database.import_(path)
        assert list(database.records()) == []
        assert database.jobs() == ()

    def test_closing(self, database: AbstractDatabase) -> None:
        """Closing twice does nothing; using a closed database says so; records live on."""
        database.put(make_record(0))
        kept = database.best(MATMUL.hash, make_target())
        with database as same:
            assert same is database
        database.close()
        assert kept == make_record(0)
        with pytest.raises(DatabaseError, match="is closed; open it again"):
            database.best(MATMUL.hash, make_target())
        with pytest.raises(DatabaseError, match="is closed; open it again"):
            database.put(make_record(1))


class SharedDatabaseContract(DatabaseContract):
    """What a database that outlives its process promises on top."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Return the URL of an empty database."""
        raise NotImplementedError("override the fixture `url`")

    @pytest.fixture
    def database(self, url: str) -> Iterator[AbstractDatabase]:
        """Yield the database at ``url``."""
        with open_database(url) as database:
            yield database

    def test_everything_outlives_the_process(self, url: str) -> None:
        """Records, jobs and models are there when the database is opened again."""
        with open_database(url) as database:
            assert database.url == url
            job = database.start_job({"seed": 1})
            records = _varied(job.id)
            database.put_many(records)
            database.save_model("cpu", "xgboost", "{}")
        with open_database(url) as database:
            assert list(database.records()) == records
            assert database.jobs() == (job,)
            assert database.load_model("cpu", "xgboost") == "{}"

    def test_a_reader_sees_what_another_wrote(self, url: str) -> None:
        """Two open databases of one URL share everything at once."""
        with open_database(url) as one, open_database(url) as two:
            one.put(make_record(0))
            assert two.best(MATMUL.hash, make_target()) == make_record(0)

    def test_many_writers_lose_nothing(self, url: str) -> None:
        """Two processes start on an absent database, and write apart and to the same candidates."""
        own, shared, writers = 500, 20, (0, 1)
        context = get_context("spawn")
        processes = [
            context.Process(target=write_many, args=(url, w, own, shared)) for w in writers
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        with open_database(url) as database:
            found = {record.program_hash: record.samples_s for record in database.records()}
        assert len(found) == len(writers) * own + shared
        for index in range(shared):
            assert sorted(found[f"shared-{index}"]) == [1.0, 2.0]


def _varied(job_id: str) -> list[TuningRecord]:
    """Return one record of each status, and some of another workload and target."""
    failures = [make_failure(index, status) for index, status in enumerate(FAILURES)]
    return [
        *failures,
        make_record(20, job_id=job_id, samples_s=(1 / 3, 2 / 7)),
        make_record(21, workload=SOFTMAX, message="a\nb ✓"),
        make_record(22, target=make_target(cores=99), evidence={"passed": True, "note": None}),
        make_record(24, trust=Trust.SUSPECT, trust_note="slower ✓", verified_at=NOW),
        make_record(25, samples_s=(1.0, 2.0), sources={"sqlite:///theirs.db": (2.0,)}),
        make_failure(23, Status.REJECTED, trace="", program_hash="untraced"),
    ]
