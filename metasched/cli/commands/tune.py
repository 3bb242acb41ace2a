"""`metasched tune`: search for a fast schedule and keep every result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from metasched import figures
from metasched.cli import options
from metasched.errors import UsageError

if TYPE_CHECKING:
    from metasched.cli.family import Sizes
    from metasched.ir.stmt import Program
    from metasched.target import Target
    from metasched.tuning import TuneResult


@click.command()
@options.program
@options.target
@click.option(
    "--trials",
    default=64,
    show_default=True,
    help="Candidates to measure in all; those on record from before count. 0 measures nothing and "
    "compiles what the saved cost model expects to be fastest.",
)
@click.option("--seconds", type=float, help="Propose nothing after this wall clock.")
@options.database
@click.option("--workers", default="local", show_default=True, help="Who builds and measures.")
@click.option("--seed", default=0, show_default=True, help="Seed of the search and the inputs.")
@click.option("--strategy", default="evolutionary", show_default=True, help="How to search.")
@click.option(
    "--stop-below",
    default=0.0,
    show_default=True,
    help="End when no candidate promises to beat the best by this share; 0 never does.",
)
@click.option(
    "--schedules",
    type=click.IntRange(min=1),
    help="Of a range: schedules that are kept at most.  [default: 6]",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    help="Of a range: sizes that they are measured on.  [default: 12]",
)
@options.as_json
def tune(
    op: str,
    pairs: tuple[str, ...],
    target: str,
    trials: int,
    seconds: float | None,
    url: str,
    workers: str,
    seed: int,
    strategy: str,
    stop_below: float,
    schedules: int | None,
    sample: int | None,
    as_json: bool,
) -> int:
    """Search for a fast schedule of a program and keep every result.

    With a range for one size, such as m=1..512 (or 1..512:8, or 1..64,128), a few schedules are
    kept that serve all of its sizes, with what they lose; --trials are then for all together.

    Ctrl-C ends the job with everything measured so far kept (exit status 130); the same command
    continues it and measures nothing twice.

    OP is an operator of metasched.ops, module:function, or file.py:function.
    """
    from metasched.cli.app import INTERRUPTED
    from metasched.cli.family import load_family
    from metasched.cli.program import load_program
    from metasched.progress import peak_rates
    from metasched.target import Target
    from metasched.target.toolchain import find_toolchain
    from metasched.tuning import tune as run

    family = load_family(op, pairs)
    if family is not None:
        return _tune_range(
            family, " ".join((op, *pairs)), Target(target), url, as_json,
            trials=trials, seconds=seconds, seed=seed, strategy=strategy, workers=workers,
            schedules=schedules or 6, sample=sample or 12,
        )  # fmt: skip
    if schedules is not None or sample is not None:
        raise UsageError("--schedules and --sample are for a range of sizes, such as m=1..512")
    program, goal = load_program(op, pairs), Target(target)
    find_toolchain()
    if not trials:
        options.require_file(url)
    try:
        result = run(
            program,
            target=goal,
            database=url,
            trials=trials,
            seconds=seconds,
            seed=seed,
            strategy=strategy,
            stop_below=stop_below,
            workers=workers,
            progress=not as_json,
        )
    except KeyboardInterrupt:
        _report_interrupted(program, goal, url, as_json)
        return INTERRUPTED
    result = cast("TuneResult", result)
    peaks = peak_rates(goal)
    if as_json:
        call = {"op": op, "arguments": list(pairs), "target": str(goal), "database": url}
        options.print_json(call | result_json(result, peaks))
    else:
        click.echo(_report(result, peaks, " ".join((op, *pairs)), url))
    return 0 if result.best is not None or result.kernel is not None else 1


def _tune_range(
    family: Sizes, call: str, goal: Target, url: str, as_json: bool, *,
    trials: int, seconds: float | None, seed: int, strategy: str, workers: str,
    schedules: int, sample: int,
) -> int:  # fmt: skip
    from metasched.cli.app import INTERRUPTED
    from metasched.cli.family import dispatch_json, dispatch_text
    from metasched.measure.open import find_workers
    from metasched.shapes import tune_shapes
    from metasched.target.toolchain import find_toolchain

    if seconds is not None:
        raise UsageError("a range of sizes is bounded by --trials, not by --seconds")
    find_workers(workers)
    find_toolchain()
    try:
        dispatch = tune_shapes(
            family.make, family.sizes, schedules=schedules, trials=trials, sample=sample,
            target=goal, database=url, seed=seed, strategy=strategy, workers=workers,
            progress=not as_json,
        )  # fmt: skip
    except KeyboardInterrupt:
        click.echo(f"interrupted: what was measured is kept in {url}; run it again", err=True)
        return INTERRUPTED
    if as_json:
        asked = {"call": call, "target": str(goal), "database": url, "key": family.key}
        options.print_json(asked | dispatch_json(dispatch))
    else:
        click.echo(dispatch_text(family, dispatch))
        click.echo(f"see it:  metasched query {call} --db {url}")
    return 0


def result_json(result: TuneResult, peaks: Mapping[str, float]) -> dict[str, Any]:
    """What tuning a program came to as JSON values; times in seconds."""
    from metasched.progress import share_of_peak

    best_s, work = result.best_s, result.flops
    return {
        "program": result.program.name,
        "trials": result.trials,
        "measured": result.measured,
        "flops": work,
        "baseline_s": result.baseline_s,
        "best_s": best_s,
        "gflops": work / best_s / 1e9 if best_s else None,
        "share_of_peak": share_of_peak(result.program, work, best_s, peaks),
        "speedup": result.speedup,
        "best": result.best.program_hash if result.best else None,
        "failures": dict(result.failures),
        "reasons": dict(result.reasons),
        "curve": [list(point) for point in result.curve],
        "phases_s": dict(result.phases),
        "seconds": result.seconds,
        "ended": result.ended,
        "kernel": result.kernel.artefact.source_hash if result.kernel else None,
        "interrupted": False,
    }


def _report(result: TuneResult, peaks: Mapping[str, float], call: str, url: str) -> str:
    from metasched.progress import failures_text, phases_text, share_of_peak

    def row(name: str, time_s: float | None, speedup: float | None) -> tuple[str, ...]:
        share = share_of_peak(result.program, result.flops, time_s, peaks)
        return (
            name,
            figures.microseconds(time_s),
            figures.gflops(result.flops, time_s),
            figures.percent(share),
            figures.ratio(speedup),
        )

    if result.kernel is not None:
        return "\n".join(_report_unmeasured(result, url))
    header = (result.program.name, "us", "GFLOP/s", "of peak", "speed-up")
    rows = [row("untuned", result.baseline_s, 1.0 if result.baseline_s else None)]
    rows.append(row("best", result.best_s, result.speedup))
    wall = figures.seconds(result.seconds)
    lines = [
        figures.table(header, rows),
        f"{result.trials} trials on record, {result.measured} measured now in {wall}"
        + (f" ({result.ended})" if result.ended else ""),
        failures_text(result.failures) or "no failures",
        *_reasons(result.reasons),
        f"time: {phases_text(result.phases) or 'nothing was left to do'}",
    ]
    if result.best is None:
        lines.append("no candidate can be served; the lines above say why")
    else:
        lines.append(f"use it:  kernel = ms.compile(program, database='{url}')")
        lines.append(f"see it:  metasched query {call} --db {url} --source")
    return "\n".join(lines)


def _report_unmeasured(result: TuneResult, url: str) -> list[str]:
    known = f", the best on record takes {figures.microseconds(result.best_s)} us"
    return [
        f"{result.program.name}: compiled what the cost model expects to be fastest in "
        f"{figures.seconds(result.seconds)}; nothing was run or checked"
        + (known if result.best is not None else ""),
        f"use it:  kernel = ms.tune(program, database='{url}', trials=0).kernel",
    ]


def _reasons(reasons: Mapping[str, int], most: int = 3) -> list[str]:
    ranked = sorted(reasons.items(), key=lambda item: -item[1])
    return [f"  {count} x {reason}" for reason, count in ranked[:most]]


def _report_interrupted(program: Program, goal: Target, url: str, as_json: bool) -> None:
    """Say what is kept; the job wrote every result before it ended."""
    from metasched.database import open_database

    kept = 0
    best_s: float | None = None
    if url != "memory:":
        with open_database(url) as database:
            kept = database.stats(program, goal).records
            best = database.best(program, goal)
            best_s = best.time_s if best else None
    if as_json:
        value = {"program": program.name, "database": url, "records": kept, "best_s": best_s}
        options.print_json(value | {"interrupted": True})
    said = f"{kept} records are kept in {url}, the best {figures.microseconds(best_s)} us"
    click.echo(f"interrupted: {said}; the same command continues", err=True)
