"""Times lookups on an empty and on a full database: `python tests/bench/bench_query.py [COUNT]`.

Prints medians of single calls in microseconds. Both databases are open at once and the calls
alternate, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from metasched.database import AbstractDatabase, Workload, open_database
from metasched.measure.records import Status
from metasched.testing.database_records import MATMUL, make_failure, make_record, make_target

ROUNDS = 500
OTHERS = 49


def fill(database: AbstractDatabase, count: int) -> None:
    """Write ``count`` records: half of one workload, the rest of others, one in ten a failure."""
    target = make_target()
    trace = '{"version":1,"instructions":[' + ",".join(['"split(l0, [4, 8, 16])"'] * 100) + "]}"
    others = [Workload(f"{n:064d}", f"other-{n}", MATMUL.text) for n in range(OTHERS)]

    def records():
        for index in range(count):
            workload = MATMUL if index % 2 else others[index % OTHERS]
            changes = {"workload": workload, "target": target, "trace": trace}
            if index % 10 == 0:
                yield make_failure(index, Status.BUILD_ERROR, **changes)
            else:
                yield make_record(index, **changes)

    database.put_many(records())


def open_and_close(url: str) -> None:
    """Open a database that exists."""
    open_database(url).close()


def time_us(call: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    start = perf_counter()
    call()
    return (perf_counter() - start) * 1e6


def main(count: int) -> None:
    """Fill, then time `best` and `top` on both."""
    target = make_target()
    with TemporaryDirectory() as folder:
        urls = [f"sqlite:///{Path(folder) / name}.db" for name in ("small", "full")]
        with open_database(urls[0]) as small, open_database(urls[1]) as full:
            fill(small, 20)
            start = perf_counter()
            fill(full, count)
            seconds = perf_counter() - start
            print(f"wrote {count} records in {seconds:.1f} s, {count / seconds:.0f} a second")
            calls: dict[str, Callable[[AbstractDatabase], object]] = {
                "best": lambda database: database.best(MATMUL.hash, target),
                "top 10": lambda database: database.top(MATMUL.hash, target, 10),
                "best, a miss": lambda database: database.best("absent", target),
            }
            for name, call in calls.items():
                pairs = [
                    (time_us(partial(call, small)), time_us(partial(call, full)))
                    for _ in range(ROUNDS)
                ]
                few, many = (median(times) for times in zip(*pairs, strict=True))
                print(f"{name}: {few:.0f} us on 20 records, {many:.0f} us on {count}")
            opening = [time_us(partial(open_and_close, url)) for url in urls * 20]
            print(f"open: {median(opening[::2]):.0f} us and {median(opening[1::2]):.0f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
