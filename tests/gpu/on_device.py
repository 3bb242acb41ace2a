"""Runs kernels on a CUDA device and compares them with PyTorch; needs no network.

    python tests/gpu/on_device.py STAGE ... [--out FOLDER] [--cases NAME,...] [--trials N] ...

Stages, in the order in which they are worth running:

    environment   what is here
    workers       builders and runners: a right kernel, wrong ones, a crash, a hang
    check         the suite at odd sizes: default and random schedules against torch
    sanitize      some of these again under compute-sanitizer (memcheck, racecheck)
    tune          each full shape tuned and compared with torch and Triton, cold, in turns
    build         what `check` would run, compiled only; needs no device

Results go to FOLDER/STAGE.json case by case, so what ran is there when time is over.
See docs/gpu.md for the wheels that such a machine needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "db", "workers")]

import metasched as ms  # noqa: E402
from metasched.errors import MetaschedError  # noqa: E402
from metasched.space.program_space import ProgramSpace  # noqa: E402
from tests.gpu.cases import FULL, SMALL, Case  # noqa: E402


class Log:
    """A table on the terminal, and the same as JSON in a file that is always whole."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path = folder / f"{stage}.json"
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        self.path.write_text(json.dumps(self.rows, indent=1, default=str))
        shown = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
        print("  ".join(shown)[:400], flush=True)


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    failures = 0
    for stage in options.stages:
        print(f"== {stage}", flush=True)
        began, log = time.monotonic(), Log(options.out, stage)
        try:
            failures += STAGES[stage](options, log)
        except Exception:
            failures += 1
            log.add(case=stage, status="stage failed", message=traceback.format_exc()[-2000:])
        print(f"== {stage}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"failures: {failures}", flush=True)
    return min(failures, 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=list(STAGES))
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--target", default="cuda", help="cuda:sm_90a where there is no device")
    parser.add_argument("--cases", default="", help="names, or beginnings of them; all otherwise")
    parser.add_argument("--schedules", type=int, default=8, help="random ones of each small case")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tuning, for each case")
    parser.add_argument("--budget", type=float, default=500.0, help="seconds of a stage")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--compiled", action="store_true", help="also torch.compile")
    return parser.parse_args()


def chosen(options: argparse.Namespace, cases: Iterable[Case]) -> list[Case]:
    wanted = tuple(name for name in options.cases.split(",") if name)
    return [case for case in cases if not wanted or case.name.startswith(wanted)]


# -- stages ------------------------------------------------------------------------------------


def environment(options: argparse.Namespace, log: Log) -> int:
    import torch

    from metasched.measure.gpu.cuda import CudaDevice
    from metasched.target.cuda_toolchain import find_cuda
    from tests.gpu.measuring import copy_bandwidth

    target = ms.Target(options.target)
    log.add(target=str(target), key=target.key(), toolchain=target.toolchain)
    log.add(limits=target.gpu, features=" ".join(target.features))
    log.add(compiler=str(find_cuda()), path=find_cuda().path, torch=torch.__version__)
    log.add(host=str(ms.Target("cpu")), toolchain=ms.Target("cpu").toolchain)
    log.add(conditions=dict(CudaDevice(target.arch).conditions()))
    log.add(copy_bytes_per_s=copy_bandwidth(torch))
    return 0


def check(options: argparse.Namespace, log: Log) -> int:
    """Runs `check_here` in a process of its own, and again for the rest where one is lost."""
    cases, failed = [case.name for case in chosen(options, SMALL)], 0
    while cases:
        folder = Path(tempfile.mkdtemp())
        command = [
            sys.executable, __file__, "check_here", "--out", str(folder),
            "--target", options.target, "--schedules", str(options.schedules),
            "--cases", ",".join(f"{name}" for name in cases),
        ]  # fmt: skip
        done = subprocess.run(command, check=False, timeout=options.budget)
        written = folder / "check_here.json"
        rows = json.loads(written.read_text()) if written.exists() else []
        for row in rows:
            log.rows.append(row)
        seen = {row["case"] for row in rows}
        failed += sum(row["status"] not in ("ok", "not built") for row in rows)
        log.add(case="process", status=done.returncode, rows=len(rows))
        if done.returncode in (0, 1) or not seen:
            break
        cases = [name for name in cases if name not in seen]
    return failed


def check_here(options: argparse.Namespace, log: Log) -> int:
    """Checks kernels in this process, and ends it where the device's context is lost."""
    import torch

    _exact(torch)
    return sum(
        _check_kernel(torch, case, name, kernel, log)
        for case in chosen(options, SMALL)
        for name, kernel in _kernels(case, options, log)
    )


def build(options: argparse.Namespace, log: Log) -> int:
    failed = 0
    for case in chosen(options, SMALL):
        found = list(_kernels(case, options, log))
        spilled = sum(_spilled(kernel) > 0 for _, kernel in found)
        log.add(case=case.name, kernels=len(found), spilled=spilled)
        failed += not found
    return failed


def sanitize(options: argparse.Namespace, log: Log) -> int:
    """Runs `check` with few schedules under the sanitizer, which fails on any finding."""
    failed = 0
    for tool in ("memcheck", "racecheck"):
        command = [
            "compute-sanitizer", f"--tool={tool}", "--error-exitcode=9", "--target-processes=all",
            sys.executable, __file__, "check_here", "--out", tempfile.mkdtemp(),
            "--target", options.target, "--cases", options.cases,
            "--schedules", str(min(options.schedules, 2)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.budget)
        tail = (done.stdout + done.stderr).splitlines()[-4:]
        log.add(tool=tool, status=done.returncode, tail=" | ".join(tail))
        failed += done.returncode != 0
    return failed


def tune(options: argparse.Namespace, log: Log) -> int:
    import torch

    _exact(torch)
    failed, began = 0, time.monotonic()
    for case in chosen(options, FULL):
        if time.monotonic() - began > options.budget:
            log.add(case=case.name, status="left out: the stage's seconds are over")
            continue
        try:
            _tune_case(torch, case, options, log)
        except Exception as error:
            failed += 1
            log.add(case=case.name, status="failed", message=_first(error))
            _abandon_if_lost(error)
    return failed


def workers(options: argparse.Namespace, log: Log) -> int:
    """Hand-written kernels through the worker processes, whatever the scheduler makes."""
    from metasched.measure.records import BuildRequest, MeasureConfig, RunRequest
    from tests.core.measure import kernels as c_kernels
    from tests.core.measure.gpu import kernels

    config = MeasureConfig(run_timeout_s=10.0)
    target = ms.Target(options.target)
    crash = "if (i == 5) *(volatile float *)8 = 1.0f;"
    wanted = {
        "right": (kernels.DOUBLE, "ok"),
        "shared": (kernels.SHARED, "ok"),
        "partial": (kernels.PARTIAL, "wrong_result"),
        "stray": (kernels.STRAY, "wrong_result"),
        "input": (kernels.INPUT, "wrong_result"),
        "crash": (crash, "run_error"),
        "right after a crash": (kernels.DOUBLE, "ok"),
        "hang": (kernels.HANG, "run_timeout"),
        "right after a hang": (kernels.SHARED, "ok"),
        "flushed": (kernels.DOUBLE, "ok"),
        "rotated": (kernels.DOUBLE, "ok"),
    }
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ms_workers(target, config) as pool:
        reference = c_kernels.compile_kernel(folder, c_kernels.DOUBLE)
        for number, (name, (body, status)) in enumerate(wanted.items()):
            task, payload = "tests.core.measure.gpu.kernels:build", kernels.source("cuda", body)
            pool.submit_build(BuildRequest(number, task, (payload, target)))
            built = _next(pool)
            if built.output is None:
                log.add(case=name, status=built.status.value, message=built.message, right=False)
                failed += 1
                continue
            how = {"flush": name == "flushed", "rotate": name == "rotated"}
            request = RunRequest(
                number, built.output.artefact, reference, config=_replace(config, **how)
            )
            pool.submit_run(request)
            result = _next(pool)
            right = result.status.value == status
            failed += not right
            log.add(
                case=name, status=result.status.value, right=right, message=result.message[:200],
                samples=[f"{s * 1e6:.2f} us" for s in result.samples_s[:4]],
                load_s=result.load_s, conditions=dict(result.conditions),
                resources=dict(built.output.resources),
            )  # fmt: skip
    return failed


STAGES: dict[str, Callable[[argparse.Namespace, Log], int]] = {
    "environment": environment,
    "workers": workers,
    "check": check,
    "check_here": check_here,
    "sanitize": sanitize,
    "tune": tune,
    "build": build,
}

# -- pieces ------------------------------------------------------------------------------------


def ms_workers(target: ms.Target, config: Any) -> Any:
    from metasched.measure.local import LocalWorkers

    return LocalWorkers(target, builders=1, config=config)


def _next(pool: Any) -> Any:
    while not (results := pool.poll(1.0)):
        pass
    return results[0]


def _replace(config: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(config, **changes)


def _exact(torch: Any) -> None:
    """Float32 without tf32 on both sides."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _kernels(case: Case, options: argparse.Namespace, log: Log) -> Iterable[tuple[str, ms.Kernel]]:
    """The default schedule of a case and some random ones of its space, compiled."""
    target = ms.Target(options.target)
    try:
        yield "default", ms.compile(case.program, target=target)
    except MetaschedError as error:
        log.add(case=case.name, schedule="default", status="not built", message=_first(error))
    space = ProgramSpace(ms.Space.default(target.kind), case.program, target)
    for number, schedule in enumerate(space.sample(options.schedules, seed=1)):
        try:
            yield f"random {number}", ms.compile(schedule, target=target)
        except MetaschedError as error:
            name = f"random {number}"
            log.add(case=case.name, schedule=name, status="not built", message=_first(error))


def _check_kernel(torch: Any, case: Case, name: str, kernel: ms.Kernel, log: Log) -> int:
    """Compare with torch in double precision on fresh inputs, with poisoned outputs."""
    from tests.gpu.measuring import TOLERANCES, error, inputs, poisoned

    found: dict[str, Any] = {"case": case.name, "schedule": name}
    try:
        given, (out,) = inputs(torch, kernel, seed=len(log.rows)), poisoned(torch, kernel)
        kernel(*given, out=out)
        torch.cuda.synchronize()
        want = case.torch(torch, [array.double() for array in given])
        worst = error(out, want)
        narrow = max(TOLERANCES[arg.dtype] for arg in kernel.artefact.args)
        right = worst <= narrow
        found |= {"status": "ok" if right else "wrong", "error": worst}
        found |= {"spilled": _spilled(kernel)}
    except Exception as problem:
        found |= {"status": "failed", "message": _first(problem)}
        log.add(**found)
        _abandon_if_lost(problem)
        return 1
    log.add(**found)
    return found["status"] != "ok"


def _tune_case(torch: Any, case: Case, options: argparse.Namespace, log: Log) -> None:
    from metasched_db import open_sql

    from tests.gpu.measuring import TOLERANCES, error, inputs, interleaved, poisoned

    began = time.monotonic()
    # By its function: the package need not be installed here, so it has no entry points.
    database = open_sql(f"sqlite:///{options.out.resolve()}/records.db")
    measure = ms_measure()
    result = ms.tune(
        case.program, target=options.target, database=database, trials=options.trials,
        seconds=options.seconds, measure=measure,
    )  # fmt: skip
    tuning_s = time.monotonic() - began
    kernel = ms.compile(case.program, target=options.target, database=database)
    given, (out,) = inputs(torch, kernel, seed=7), poisoned(torch, kernel)
    kernel(*given, out=out)
    torch.cuda.synchronize()
    want = case.torch(torch, [array.float() for array in given])
    worst = error(out, want)
    peers: dict[str, Callable[[], object]] = {"metasched": kernel.bound(*given, out=out)}
    peers["torch"] = lambda: case.torch(torch, given)
    if options.compiled:
        compiled = torch.compile(
            lambda *xs: case.torch(torch, list(xs)), mode="max-autotune-no-cudagraphs"
        )
        peers["torch.compile"] = lambda: compiled(*given)
    if case.op == "matmul":
        from tests.gpu.triton_matmul import matmul

        space = torch.empty(out.shape, dtype=given[0].dtype, device="cuda")
        peers["triton"] = lambda: matmul(*given, space)
    times = interleaved(torch, peers, options.rounds)
    evidence = {} if kernel.record is None else dict(kernel.record.evidence)
    log.add(
        case=case.name,
        status="ok"
        if worst <= max(TOLERANCES[arg.dtype] for arg in kernel.artefact.args)
        else "wrong",
        error=worst,
        **{f"{name}_us": 1e6 * seconds for name, seconds in times.items()},
        of_torch=times["torch"] / times["metasched"],
        tflops=result.flops / times["metasched"] / 1e12,
        default_us=1e6 * (result.baseline_s or float("nan")),
        tuned_us=1e6 * (result.best_s or float("nan")),
        trials=result.trials,
        tuning_s=tuning_s,
        phases=dict(result.phases),
        timers=timers(database, case.program),
        failures=dict(result.failures),
        reasons=dict(list(result.reasons.items())[:3]),
        evidence=evidence,
    )


def timers(database: Any, program: ms.Program) -> dict[str, float]:
    """The seconds of a program's records by kind: parts of building, loading, checking, running."""
    found: dict[str, float] = {}
    for record in database.records(program):
        for name, seconds in record.timers.items():
            found[name] = round(found.get(name, 0.0) + seconds, 2)
    return found


def ms_measure() -> Any:
    from metasched.measure.records import MeasureConfig

    return MeasureConfig(flush=True, run_timeout_s=20.0, reference_timeout_s=200.0)


def _spilled(kernel: ms.Kernel) -> int:
    return sum(one.get("spill_store_bytes", 0) for one in kernel.resources.values())


def _first(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _abandon_if_lost(error: BaseException) -> None:
    """End the process where the context is lost: nothing after that would say anything."""
    if "illegal" in str(error) or "misaligned" in str(error) or "unspecified launch" in str(error):
        print(f"the context is lost: {error}", flush=True)
        os._exit(3)


if __name__ == "__main__":
    raise SystemExit(main())
