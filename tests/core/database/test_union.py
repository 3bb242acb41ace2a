from __future__ import annotations

from collections.abc import Iterator

import pytest

from metasched.database import AbstractDatabase, MemoryDatabase, OrderedUnion, Union
from metasched.errors import UsageError
from metasched.measure.records import Status
from metasched.testing.database_contract import DatabaseContract
from metasched.testing.database_records import (
    MATMUL,
    SOFTMAX,
    make_failure,
    make_record,
    make_target,
)


@pytest.fixture
def members() -> tuple[MemoryDatabase, MemoryDatabase]:
    local, shared = MemoryDatabase(), MemoryDatabase()
    local.put_many((make_record(4), make_record(5)))
    shared.put_many((make_record(1), make_record(4, samples_s=(1e-9,) * 3)))
    shared.put(make_record(2, workload=SOFTMAX))
    return local, shared


def test_a_union_serves_the_best_of_all(members: tuple[MemoryDatabase, MemoryDatabase]) -> None:
    both = Union(*members)
    hashes = [record.program_hash for record in both.top(MATMUL.hash, make_target(), 3)]
    assert hashes == ["program-4", "program-1", "program-5"]
    assert both.stats().records == 4
    assert both.workloads() == (MATMUL, SOFTMAX)
    assert both.measured_hashes(MATMUL.hash, make_target()) == set(hashes)


def test_an_ordered_union_serves_the_first_that_knows(
    members: tuple[MemoryDatabase, MemoryDatabase],
) -> None:
    both = OrderedUnion(*members)
    assert both.best(MATMUL.hash, make_target()) == make_record(4)
    assert both.best(SOFTMAX.hash, make_target()) == make_record(2, workload=SOFTMAX)
    assert both.best(SOFTMAX.hash, make_target(cores=99)) is None


def test_the_first_is_written_to(members: tuple[MemoryDatabase, MemoryDatabase]) -> None:
    local, shared = members
    both = OrderedUnion(local, shared)
    job = both.start_job({})
    both.put(make_record(9, job_id=job.id))
    assert local.jobs() == both.jobs() == (job,)
    assert shared.jobs() == ()
    assert both.job(job.id) == job


def test_what_one_knows_to_be_wrong_is_not_served_by_a_union(
    members: tuple[MemoryDatabase, MemoryDatabase],
) -> None:
    local, shared = members
    local.put(make_failure(1, Status.WRONG_RESULT))
    hashes = [r.program_hash for r in Union(local, shared).top(MATMUL.hash, make_target(), 9)]
    assert hashes == ["program-4", "program-5"]


@pytest.mark.parametrize("kind", [Union, OrderedUnion])
def test_a_union_of_nothing_or_of_one_twice_is_refused(kind: type[Union]) -> None:
    with pytest.raises(UsageError, match="needs at least one"):
        kind()
    with MemoryDatabase() as database, pytest.raises(UsageError, match="has one twice"):
        kind(database, database)


@pytest.mark.parametrize("kind", [Union, OrderedUnion], indirect=True)
class TestContract(DatabaseContract):
    """A union of empty databases behaves as a database does."""

    @pytest.fixture
    def kind(self, request: pytest.FixtureRequest) -> type[Union]:
        return request.param

    @pytest.fixture
    def database(self, kind: type[Union]) -> Iterator[AbstractDatabase]:
        with kind(MemoryDatabase(), MemoryDatabase()) as database:
            yield database
