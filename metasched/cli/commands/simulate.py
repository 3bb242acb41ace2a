"""`metasched simulate`: compare search settings against what a database has on record."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import click

from metasched import figures
from metasched.cli import options

if TYPE_CHECKING:
    from metasched.simulation import Simulated


@click.command()
@options.program
@options.target
@options.database
@click.option("--trials", default=64, show_default=True, help="Candidates of a simulated search.")
@click.option("--seeds", default=3, show_default=True, help="Searches of each setting.")
@click.option("--strategy", "strategies", multiple=True, help="How to search; may be repeated.")
@click.option("--model", "models", multiple=True, help="Cost model; may be repeated.")
@click.option(
    "--unmeasured",
    default="nearest",
    show_default=True,
    help="Where times that are not on record come from: nearest, model.",
)
@options.as_json
def simulate(
    op: str,
    pairs: tuple[str, ...],
    target: str,
    url: str,
    trials: int,
    seeds: int,
    strategies: tuple[str, ...],
    models: tuple[str, ...],
    unmeasured: str,
    as_json: bool,
) -> None:
    """Compare strategies and cost models without hardware, by replaying recorded results.

    Candidates that are on record get the time that was measured, all others one that follows from
    the records. Every search starts cold. OP is an operator of metasched.ops, module:function, or
    file.py:function.
    """
    from metasched.cli.program import load_program
    from metasched.database import open_database
    from metasched.errors import UsageError
    from metasched.simulation import simulate as run
    from metasched.target import Target

    for name, given in (("--trials", trials), ("--seeds", seeds)):
        if given < 1:
            raise UsageError(f"{name} {given} is given, expected at least 1")
    program, goal = load_program(op, pairs), Target(target)
    options.require_file(url)
    found: list[dict[str, Any]] = []
    with open_database(url) as database:
        for strategy in strategies or ("evolutionary", "random"):
            for model in models or ("boosted_trees",):
                runs = [
                    run(
                        program, database, target=goal, trials=trials, seed=seed,
                        strategy=strategy, model=model, unmeasured=unmeasured,
                    )
                    for seed in range(seeds)
                ]  # fmt: skip
                found.append({"strategy": strategy, "model": model, **_summary(runs)})
    if as_json:
        options.print_json({"program": program.name, "trials": trials, "settings": found})
    else:
        click.echo(_table(found, trials))


def _summary(runs: list[Simulated]) -> dict[str, Any]:
    best = [run.result.best_s for run in runs if run.result.best_s is not None]
    near = [_trials_until(run, 1.05) for run in runs]
    return {
        "best_s": median(best) if best else None,
        "of_recorded": median(best) / runs[0].records_best_s if best else None,
        "trials_to_5_percent": median(near),
        "replayed": sum(run.replayed for run in runs) / sum(run.result.trials for run in runs),
    }


def _trials_until(run: Simulated, factor: float) -> int:
    """Trials after which the best was within a factor of the search's own end."""
    goal = factor * (run.result.curve[-1][1] if run.result.curve else 0.0)
    return next((trial for trial, seconds in run.result.curve if seconds <= goal), 0)


def _table(found: list[dict[str, Any]], trials: int) -> str:
    rows = [
        (
            one["strategy"],
            one["model"],
            figures.microseconds(one["best_s"]),
            figures.ratio(one["of_recorded"]),
            f"{one['trials_to_5_percent']:g}",
            figures.percent(one["replayed"]),
        )
        for one in found
    ]
    header = ("strategy", "model", "best us", "of recorded best", "trials to 5 %", "on record")
    return f"{trials} trials, medians over seeds\n" + figures.table(header, rows)
