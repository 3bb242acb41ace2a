"""One workload in several spellings: found by each, served to each in its own order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import metasched as ms
from metasched import te
from metasched.database import MemoryDatabase, Workload
from metasched.database.spelling import scheduled_as
from metasched.errors import DatabaseError
from metasched.ir.hash import structural_hash
from metasched.schedule.schedule import Schedule
from metasched.testing.database_records import make_record


def product(names: str = "abc", turn: bool = False) -> ms.Program:
    x, y, z = names
    a = te.placeholder((8, 24), "float32", name=x)
    b = te.placeholder((24, 16), "float32", name=y)
    k = te.reduce_axis(24, name="k")
    c = te.compute(
        (8, 16), lambda i, j: te.sum(b[k, j] * a[i, k] if turn else a[i, k] * b[k, j], k), name=z
    )
    return te.program([b, a, c] if turn else [a, b, c], name=f"product_{z}")


def record_of(program: ms.Program, tile: int):
    schedule = Schedule(program)
    row, *_ = schedule.get_loops(schedule.get_block(program.outputs[0].name))
    schedule.split(row, [None, tile])
    return make_record(
        tile,
        workload=Workload.from_program(program),
        trace=schedule.trace.to_json(),
        program_hash=structural_hash(schedule.program),
    )


@pytest.mark.cc
def test_a_record_serves_another_spelling() -> None:
    ours, theirs = product(), product("xyz", turn=True)
    with MemoryDatabase() as database:
        database.put(replace(record_of(ours, 4), target=ms.Target("cpu")))
        kernel = ms.compile(theirs, database=database)
    assert kernel.record is not None
    rng = np.random.default_rng(0)
    a = rng.random((8, 24), dtype=np.float32)
    b = rng.random((24, 16), dtype=np.float32)
    np.testing.assert_allclose(kernel(b, a), a @ b, rtol=1e-5)


def test_a_record_of_another_program_is_not_served() -> None:
    record = record_of(product(), 4)
    lie = replace(
        record, workload=replace(record.workload, text=str(ms.ops.matmul(m=8, n=16, k=24)) + " ")
    )
    assert scheduled_as(lie, product()).params  # the same program in other words
    lie = replace(record, workload=replace(record.workload, text=str(ms.ops.softmax(m=8, n=16))))
    with pytest.raises(DatabaseError, match="holds another program than 'product_c'"):
        scheduled_as(lie, product())
