"""What workers on Ray cost: `python -m tests.bench.bench_workers overhead|busy|memory|wall`.

Simulated runners wait instead of measuring. Many of them live in one actor process, as a thousand
processes do not fit on a small machine: what is loaded is the driver, Ray's calls and the hosts'
queues, as by a thousand real ones whose requests come in batches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metasched_workers.engines import SIMULATED
from metasched_workers.fleet import OwnFleet
from metasched_workers.plan import Place
from metasched_workers.ray_workers import RayWorkers

from metasched.measure.records import BuildRequest, BuildResult, RunRequest
from metasched.target import Target


def fleet(hosts: int, runners: int, builders: int) -> RayWorkers:
    """Workers on Ray with simulated hosts, each with a part of the runners and builders."""
    target = Target("cpu")
    text = json.dumps(target.to_dict())

    def plan(node_id: str, resources: Mapping[str, float]) -> list[Place]:
        return [
            Place(node_id, (text,), i, builders // hosts, runners // hosts) for i in range(hosts)
        ]

    workers = RayWorkers(lambda: OwnFleet([target], engine=SIMULATED, planner=plan), [target])
    while workers.capacity.runners < runners:
        time.sleep(0.05)
    return workers


def drive(
    workers: RayWorkers, trials: int | None, seconds: float | None, run_s: float, spread: float
) -> dict[str, Any]:
    """Build and run trials as a job does: as many as are wanted, or for so long."""
    rng = random.Random(0)
    capacity = workers.capacity
    began = time.perf_counter()
    cpu = time.process_time()
    started = done = building = running = number = 0
    served_s, rss = 0.0, []
    times: dict[int, float] = {}
    while True:
        passed = time.perf_counter() - began
        is_over = (trials is not None and started >= trials) or (
            seconds is not None and passed > seconds
        )
        if is_over and not building and not running:
            break
        while (
            not is_over
            and building < 2 * capacity.builders
            and building + running < 3 * capacity.runners
            and (trials is None or started < trials)
        ):
            number += 1
            started += 1
            building += 1
            one_s = run_s * rng.uniform(1 - spread, 1 + spread)
            workers.submit_build(BuildRequest(number, "", (0.0, one_s)))
        for result in workers.poll(0.5):
            if isinstance(result, BuildResult):
                building -= 1
                running += 1
                number += 1
                assert result.output is not None
                artefact = result.output.artefact
                times[number] = float(artefact.entry)
                os.unlink(artefact.path)  # a job keeps it; here there would be 100,000 of them
                workers.submit_run(RunRequest(number, artefact))
                continue
            running -= 1
            done += 1
            served_s += times.pop(result.candidate_id)
            if done % 5000 == 0:
                rss.append(rss_mib())
    wall = time.perf_counter() - began
    return {
        "trials": done,
        "wall_s": round(wall, 2),
        "trials_per_s": round(done / wall, 1),
        "busy": round(served_s / wall / capacity.runners, 4),
        "driver_cpu_ms_per_trial": round(1e3 * (time.process_time() - cpu) / max(1, done), 3),
        "driver_rss_mib": rss,
    }


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def overhead() -> dict[str, Any]:
    """Trials that take no time on 100 runners: all that is left is overhead."""
    with fleet(4, 100, 20) as workers:
        drive(workers, 500, None, 0.0, 0.0)
        found = drive(workers, 8000, None, 0.0, 0.0)
    return found | {"overhead_ms_per_trial": round(1e3 * found["wall_s"] / found["trials"], 3)}


def busy(seconds: float, runners: int) -> dict[str, Any]:
    """Trials of half a second on a thousand runners."""
    with fleet(4, runners, 100) as workers:
        return drive(workers, None, seconds, 0.5, 0.2)


def memory(trials: int) -> dict[str, Any]:
    """The resident memory of the driver over many trials."""
    with fleet(4, 400, 100) as workers:
        return drive(workers, trials, None, 0.0, 0.0)


def wall(trials: int, which: tuple[str, ...] = ("local", "ray")) -> dict[str, Any]:
    """Wall clock of a whole process that tunes GMM-512, start-up included."""
    script = (
        "import metasched as ms, sys, contextlib\n"
        "from metasched_workers import open_workers\n"
        "program, workers = ms.ops.matmul(m=512, n=512, k=512), sys.argv[1]\n"
        "with contextlib.ExitStack() as stack:\n"
        "    if workers == 'ray':  # as tune does, also where the installed metadata is older\n"
        "        workers = stack.enter_context(open_workers('ray', [ms.Target('cpu')]))\n"
        "    r = ms.tune(program, trials=int(sys.argv[2]), workers=workers)\n"
        "print(r.best_s, r.trials, {k: round(v, 1) for k, v in r.phases.items()})\n"
    )
    found: dict[str, Any] = {}
    for workers in which:
        began = time.perf_counter()
        command = [sys.executable, "-c", script, workers, str(trials)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[workers] = {"wall_s": round(time.perf_counter() - began, 2), "said": done.stdout}
    if len(found) == 2:
        found["ratio"] = round(found["ray"]["wall_s"] / found["local"]["wall_s"], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "busy", "memory", "wall"])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--runners", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--only", choices=["local", "ray"])
    given = parser.parse_args()
    if given.what == "overhead":
        result = overhead()
    elif given.what == "busy":
        result = busy(given.seconds, given.runners)
    elif given.what == "memory":
        result = memory(given.trials or 100_000)
    else:
        which = (given.only,) if given.only else ("local", "ray")
        result = wall(given.trials or 256, which)
    print(json.dumps({"what": given.what, **result}, indent=1))


if __name__ == "__main__":
    main()
