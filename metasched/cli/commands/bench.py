"""`metasched bench`: the operator suite, tuned and timed side by side in one run."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import click

from metasched.cli import options

if TYPE_CHECKING:
    from metasched.cli.bench.contest import Case, Settings
    from metasched.cli.bench.entrants import Entrant
    from metasched.cli.bench.results import CaseResult
    from metasched.target import Target
    from metasched.tuning import TuneResult


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--against", default="numpy", show_default=True, help="Whom to compare with: numpy,torch,tvm."
)
@click.option("--python", metavar="PATH", help="An interpreter that has torch or TVM.")
@click.option("--trials", default=64, show_default=True, help="Candidates of each tuner.")
@click.option("--rounds", default=30, show_default=True, help="Turns that each side is timed.")
@click.option("--seconds", type=float, help="TVM begins no further batch after this wall clock.")
@click.option("--seed", default=0, show_default=True, help="Seed of the searches and the inputs.")
@click.option("--db", "url", metavar="URL", help="Keep or reuse results; a new database if none.")
@click.option("--skip-tuning", is_flag=True, help="Time what --db holds, without tuning.")
@click.option("--small", is_flag=True, help="Tiny shapes, to try the bench out.")
@options.as_json
def bench(
    names: tuple[str, ...],
    against: str,
    python: str | None,
    trials: int,
    rounds: int,
    seconds: float | None,
    seed: int,
    url: str | None,
    skip_tuning: bool,
    small: bool,
    as_json: bool,
) -> int:
    """Tune the operators of the suite, or the NAMEd ones, and time them side by side.

    Every side runs in a process of its own with all cores. All are timed in turns of one run, and
    the figures are medians. A ratio is the time of metasched by the time of the other in the same
    round, the median over the rounds: below 1 metasched is faster. The exit status is 1 when an
    operator has no kernel to serve.
    """
    from metasched.cli.app import INTERRUPTED
    from metasched.cli.bench.contest import Settings
    from metasched.cli.bench.entrants import choose
    from metasched.cli.bench.results import render
    from metasched.job import check_budget
    from metasched.progress import peak_rates
    from metasched.target import Target
    from metasched.target.toolchain import find_toolchain

    check_budget(trials, seconds)
    _check(rounds, url, skip_tuning)
    cases, entrants = find_cases(names, small), choose(against, python)
    find_toolchain()
    target = Target("cpu")
    peak = peak_rates(target).get("float32")
    results: list[CaseResult] = []
    status = 0
    with _database(url) as database:
        settings = Settings(trials, rounds, seconds, seed, database, peak)
        try:
            for case in cases:
                tuned = None if skip_tuning else _tune(case, target, settings, as_json)
                results.append(_run(case, entrants, target, settings, tuned))
                if as_json:
                    options.print_json(results[-1].to_dict())
        except KeyboardInterrupt:
            click.echo(f"interrupted after {len(results)} of {len(cases)} operators", err=True)
            status = INTERRUPTED
    others = [entrant.name for entrant in entrants[1:]]
    if as_json:
        options.print_json(_summary(results, others))
    else:
        click.echo(render(results, others))
    return status or int(any(result.sides[0].time_s is None for result in results))


def find_cases(names: Sequence[str], small: bool) -> tuple[Case, ...]:
    """The cases of the names, or all, at their published or at tiny shapes.

    Raises:
        UsageError: no case has that name.
    """
    from metasched import ops
    from metasched.cli.bench.contest import Case
    from metasched.errors import UsageError, suggest
    from metasched.testing.suite import SMALL, SUITE

    known = {name.upper(): name for name in SUITE}
    cases: list[Case] = []
    for name in names or SUITE:
        if name.upper() not in known:
            raise UsageError(f"unknown case '{name}'{suggest(name.upper(), SUITE)}")
        found = known[name.upper()]
        op, arguments = SUITE[found]
        arguments = {**arguments, **(SMALL[found] if small else {})}
        cases.append(Case(found, op, arguments, ops.get(op)(**arguments)))
    return tuple(cases)


def _check(rounds: int, url: str | None, skip_tuning: bool) -> None:
    from metasched.errors import UsageError

    if rounds < 1:
        raise UsageError(f"--rounds {rounds} is given, expected at least 1")
    if url == "memory:":
        raise UsageError("a bench looks kernels up in other processes; give a file after --db")
    if skip_tuning:
        if url is None:
            raise UsageError("--skip-tuning needs --db URL, the database of an earlier bench")
        options.require_file(url)


@contextmanager
def _database(url: str | None) -> Generator[str]:
    """The URL that was given, else of a file that is gone afterwards."""
    from tempfile import TemporaryDirectory

    if url is not None:
        yield url
        return
    with TemporaryDirectory(prefix="metasched-") as folder:
        yield f"sqlite:///{folder}/bench.db"


def _tune(case: Case, target: Target, settings: Settings, as_json: bool) -> TuneResult:
    from metasched.tuning import tune

    click.echo(f"{case.name}: tuning {settings.trials} trials", err=True)
    result = tune(
        case.program,
        target=target,
        database=settings.database,
        trials=settings.trials,
        seed=settings.seed,
        progress=not as_json and sys.stderr.isatty(),
    )
    return cast("TuneResult", result)


def _run(
    case: Case,
    entrants: Sequence[Entrant],
    target: Target,
    settings: Settings,
    tuned: TuneResult | None,
) -> CaseResult:
    from metasched.cli.bench.contest import run_case

    others = [entrant.name for entrant in entrants if entrant.takes(case.op)]
    click.echo(f"{case.name}: timing {', '.join(others)}", err=True)
    return run_case(case, entrants, target, settings, tuned)


def _summary(results: Sequence[CaseResult], others: Sequence[str]) -> dict[str, object]:
    from metasched.cli.bench.results import mean_ratio

    means = {name: mean_ratio(results, name) for name in others}
    return {"operators": len(results), "geometric_mean_ratios": means}
