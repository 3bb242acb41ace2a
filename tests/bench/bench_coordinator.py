"""How many workers one job keeps busy: ``python -m tests.bench.bench_coordinator [DATABASE_URL]``.

A job tunes GMM-512 with simulated builders and runners: builds take 0.4 s, runs 0.5 s. Their
waiting is skipped, while all that the job does itself (proposing, training, records) takes its
real time, so the figures are those of as many real workers. Bound: 1,000 runners 95 % busy, which
takes 1,900 trials a second.
"""

from __future__ import annotations

import argparse
import zlib
from time import perf_counter

from metasched.build import BUILD_REFERENCE
from metasched.measure.records import BuildRequest
from metasched.measure.simulated import Fate, LoadClock, SimulatedWorkers
from metasched.testing import suite
from metasched.tuning import TuneResult, tune

BUILD_S, RUN_S = 0.4, 0.5


def oracle(request: BuildRequest) -> Fate:
    """Every trace is a program of its own, with a time drawn from its text."""
    trace = request.payload.trace
    if trace is None:
        name = "reference" if request.task == BUILD_REFERENCE else "default"
        return Fate(name, (1e-3,), build_s=BUILD_S, run_s=RUN_S)
    drawn = zlib.crc32(trace.encode())
    seconds = 1e-3 * (0.5 + drawn / 2**33)
    return Fate(f"{drawn:08x}", (seconds,) * 3, trace=trace, build_s=BUILD_S, run_s=RUN_S)


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database", nargs="?", default="memory:")
    parser.add_argument("--case", default="GMM-512")
    parser.add_argument("--trials", type=int, default=80, help="for each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    given = parser.parse_args()
    print("workers   trials  busy %  trials/s of the job  propose s  real s  simulated s")
    for count in given.workers:
        workers = SimulatedWorkers(oracle, builders=count, runners=count, clock=LoadClock())
        begin = perf_counter()
        found = tune(
            suite.program(given.case), trials=count * given.trials, workers=workers, seed=count,
            database=given.database if given.database == "memory:" else f"{given.database}.{count}",
        )  # fmt: skip
        real = perf_counter() - begin
        assert isinstance(found, TuneResult)
        print(
            f"{count:7} {found.trials:8} {100 * workers.busy():7.1f} {found.trials / real:20.0f} "
            f"{found.phases['propose']:10.1f} {real:7.1f} {workers.now():12.1f}"
        )


if __name__ == "__main__":
    main()
