"""Times the tuning database; every command prints what it measured.

`bench_database.py fill PATH RECORDS WORKLOADS` makes a database, `lookups PATH...` times opening
and lookups on each in turns, `writers URL PROCESSES RECORDS` has processes write at once, `tvm
RECORDS WORKLOADS FOLDER` makes and times a JSON database of TVM's with the interpreter it runs in.
Figures are medians and 99th percentiles of single calls, by the clock and of processor time, which
a busy machine disturbs less.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

CALLS = 2000
SEED = 0


def trace_text(index: int) -> str:
    """A trace of usual length, some 2 kB."""
    steps = [["get_block", ["c"], {}, [{"block": "b0"}]]]
    steps += [
        ["split", [{"loop": f"l{n}"}, [4, 8, 16]], {}, [{"loop": f"x{n}"}]] for n in range(30)
    ]
    data = {"version": 1, "instructions": steps, "decisions": {"1": [index % 97 + 1, 4, 8]}}
    return json.dumps(data, separators=(",", ":"))


def workload_hash_of(number: int) -> str:
    """The hash of a made-up workload."""
    return f"{number:064d}"


def made_records(count: int, workloads: int) -> Iterator[Any]:
    """Records over workloads, one in ten a failure; their times are random."""
    from metasched.database import Workload
    from metasched.measure.records import Status
    from metasched.testing.database_records import make_failure, make_record, make_target

    rng, target = random.Random(SEED), make_target()
    text = "def program(a, b, c):\n" + "    for i in range(512):\n" * 20
    for index in range(count):
        number = index % workloads
        workload = Workload(workload_hash_of(number), f"w{number}", text)
        changes: dict[str, Any] = {
            "workload": workload,
            "target": target,
            "trace": trace_text(index),
            "samples_s": tuple(rng.uniform(1e-3, 2e-3) for _ in range(5)),
        }
        if index // workloads % 10 == 9:
            changes.pop("samples_s")
            yield make_failure(index, Status.BUILD_ERROR, **changes)
        else:
            yield make_record(index, **changes)


def fill(path: str, records: str, workloads: str) -> None:
    """Write a database and its snapshot."""
    from metasched.database import open_database, write_snapshot

    start = perf_counter()
    with open_database(f"sqlite:///{path}") as database:
        database.put_many(made_records(int(records), int(workloads)))
        written = perf_counter()
        winners = write_snapshot(database, f"{path}.msnap")
    print(f"{records} records in {written - start:.1f} s, {int(records) / (written - start):.0f}/s")
    print(f"{winners} winners in {perf_counter() - written:.1f} s")
    sizes = [Path(name).stat().st_size / 1e6 for name in (path, f"{path}.msnap")]
    print(f"on disk: {sizes[0]:.1f} MB, snapshot {sizes[1]:.1f} MB")


def percentiles(calls: list[Callable[[], object]]) -> str:
    """Time each call once."""
    walls: list[float] = []
    cpus: list[float] = []
    for call in calls:
        start, start_cpu = perf_counter(), thread_time()
        call()
        cpus.append((thread_time() - start_cpu) * 1e6)
        walls.append((perf_counter() - start) * 1e6)
    return f"wall {_middle_and_tail(walls)}; processor {_middle_and_tail(cpus)}"


def _middle_and_tail(times: list[float]) -> str:
    times.sort()
    return f"p50 {times[len(times) // 2]:8.1f} us, p99 {times[len(times) * 99 // 100]:8.1f} us"


def lookups(*paths: str) -> None:
    """Time what a compiler asks, on workloads drawn at random."""
    from metasched.database import open_database
    from metasched.testing.database_records import make_target

    target, rng = make_target(), random.Random(SEED)
    for path in paths:
        for url in (f"sqlite:///{path}", f"snapshot:{path}.msnap"):
            opening: list[Callable[[], object]] = [lambda url=url: open_database(url).close()] * 50
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with open_database(url) as database:
                held = [w.hash for w in database.workloads()]
                keys = [rng.choice(held) for _ in range(CALLS)]
                best = [lambda k=k: database.best(k, target) for k in keys]
                top = [lambda k=k: database.top(k, target, 10) for k in keys]
                miss = [lambda k=k: database.best(f"x{k}", target) for k in keys]
                print(f"{url}: {len(held)} workloads")
                for name, calls in (("best", best), ("top 10", top), ("miss", miss)):
                    print(f"  {name:7} {percentiles(calls)}")
            print(f"  open    {percentiles(opening)}")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
            print(f"  memory  +{grown / 1024:.1f} MiB", flush=True)


def write_some(url: str, writer: int, count: int, batch: int) -> None:
    """Write records in batches, one in five to candidates that all writers share."""
    from metasched.database import open_database
    from metasched.testing.database_records import make_record

    with open_database(url) as database:
        for first in range(0, count, batch):
            indices = range(first, min(first + batch, count))
            database.put_many(
                make_record(
                    index,
                    trace=trace_text(index),
                    program_hash=f"shared-{index}" if index % 5 == 0 else f"own-{writer}-{index}",
                    samples_s=(1.0 + writer,),
                )
                for index in indices
            )


def writers(url: str, processes: str, records: str, batch: str = "16") -> None:
    """Write ``records`` in all; then count what is there."""
    from metasched.database import open_database

    each = int(records) // int(processes)
    context = get_context("spawn")
    start = perf_counter()
    running = [
        context.Process(target=write_some, args=(url, writer, each, int(batch)))
        for writer in range(int(processes))
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    seconds = perf_counter() - start
    failed = sum(process.exitcode != 0 for process in running)
    with open_database(url) as database:
        samples: dict[str, int] = {}
        for record in database.records():
            assert record.program_hash not in samples, "a candidate is doubled"
            samples[record.program_hash] = len(record.samples_s)
    shared = len(range(0, each, 5))
    own = (each - shared) * len(running)
    lost = own + shared * len(running) - sum(samples.values())
    print(
        f"{records} records by {processes} processes in {seconds:.1f} s: {len(samples)} candidates"
    )
    print(f"{own + shared - len(samples)} missing, {lost} samples lost, {failed} writers failed")


def tvm(records: str, workloads: str, folder: str) -> None:
    """The same with the JSON database of TVM, whose interpreter runs this."""
    import tvm
    from tvm import te
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo
    from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord

    paths = [os.path.join(folder, name) for name in ("workload.json", "record.json")]
    target = tvm.target.Target({"kind": "llvm", "num-cores": 2})

    def module(n: int) -> Any:
        a = te.placeholder((n + 1, 128), name="a")
        b = te.compute((n + 1, 128), lambda i, j: a[i, j] * 2.0, name="b")
        return tvm.IRModule({"main": te.create_prim_func([a, b])})

    start = perf_counter()
    database = JSONDatabase(*paths, module_equality="structural")
    modules = [module(n) for n in range(int(workloads))]
    committed = [database.commit_workload(m) for m in modules]
    # Opening replays each trace on its workload, so each has a schedule of its own.
    schedules = [Schedule(m) for m in modules]
    for schedule in schedules:
        for loop in schedule.get_loops(schedule.get_sblock("b", func_name="main")):
            schedule.split(loop, [None, 4])
    info = ArgInfo.from_entry_func(modules[0], remove_preproc=False)
    rng = random.Random(SEED)
    for index in range(int(records)):
        seconds = [rng.uniform(1e-3, 2e-3)] * 5
        number = index % len(committed)
        record = TuningRecord(schedules[number].trace, committed[number], seconds, target, info)
        database.commit_tuning_record(record)
    print(f"TVM: wrote {records} records over {workloads} in {perf_counter() - start:.1f} s")
    start = perf_counter()
    again = JSONDatabase(*paths, module_equality="structural")
    print(f"TVM: open {perf_counter() - start:.2f} s")
    keys = [rng.randrange(len(modules)) for _ in range(200)]
    best = [lambda k=k: again.query_tuning_record(modules[k], target, "main") for k in keys]
    top = [lambda k=k: again.get_top_k(committed[k], 10) for k in keys]
    print(f"TVM: best   {percentiles(best)}\nTVM: top 10 {percentiles(top)}")
    sizes = [os.path.getsize(path) / 1e6 for path in paths]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"TVM: on disk {sum(sizes):.1f} MB, memory {rss:.0f} MiB")


if __name__ == "__main__":
    {"fill": fill, "lookups": lookups, "writers": writers, "tvm": tvm}[sys.argv[1]](*sys.argv[2:])
