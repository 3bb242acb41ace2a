"""`metasched model`: judge and rebuild the cost model that a database keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from metasched.cli import options

if TYPE_CHECKING:
    from metasched.learning import Evaluation

_LEAST = 16
"""Records of a program below which an order says little."""


@click.group(invoke_without_command=True)
@click.pass_context
def model(context: click.Context) -> None:
    """Judge and rebuild the cost model of a database: eval, train."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@model.command(name="eval")
@options.database
@options.target
@click.option("--model", "kind", default="boosted_trees", show_default=True, help="Cost model.")
@click.option("--folds", default=8, show_default=True, help="Parts that records are divided into.")
@options.as_json
def evaluate(url: str, target: str, kind: str, folds: int, as_json: bool) -> None:
    """Show how well a model orders records that it has not seen, program by program.

    "held out" is a model trained on the program's other records, "unseen" one trained on other
    programs only, "prior" the analytic model. Each is given as rank correlation (Spearman) and as
    the share of the fastest quarter that the predicted fastest quarter holds.
    """
    from metasched.database import open_database
    from metasched.errors import UsageError
    from metasched.learning import all_samples, evaluate_model
    from metasched.target import Target

    if folds < 2:
        raise UsageError(f"--folds {folds} is given, expected at least 2")
    options.require_file(url)
    goal = Target(target)
    with open_database(url) as database:
        samples = all_samples(database, goal, least=_LEAST)
    if not samples:
        raise UsageError(
            f"no program in {url} has {_LEAST} records for {goal}; tune with more trials first"
        )
    found = evaluate_model(samples, goal, model=kind, folds=folds)
    if as_json:
        options.print_json({"model": kind, "programs": [_json(one) for one in found]})
    else:
        click.echo(_table(found))


@model.command()
@options.database
@options.target
@click.option("--model", "kind", default="boosted_trees", show_default=True, help="Cost model.")
@options.as_json
def train(url: str, target: str, kind: str, as_json: bool) -> None:
    """Rebuild the saved model from all records of a target.

    Tuning keeps the model up to date by itself; this is for records that came by import or merge.
    """
    from metasched.database import open_database
    from metasched.learning import rebuild_model
    from metasched.target import Target

    options.require_file(url)
    goal = Target(target)
    with open_database(url) as database:
        count = rebuild_model(database, goal, kind)
    if as_json:
        options.print_json({"database": url, "model": kind, "samples": count})
    else:
        click.echo(f"{kind} in {url} now knows {count} samples")


def _json(one: Evaluation) -> dict[str, object]:
    cards = {"held_out": one.held_out, "unseen": one.unseen, "prior": one.prior}
    return {
        "program": one.program,
        "samples": one.samples,
        **{
            name: card and {"spearman": card.spearman, "top_recall": card.top_recall}
            for name, card in cards.items()
        },
    }


def _table(found: list[Evaluation]) -> str:
    width = max([len(one.program) for one in found] + [7])
    lines = [f"{'program':{width}}  samples  held out      unseen        prior"]
    for one in found:
        cards = "".join(
            f"{card.spearman:6.2f} {card.top_recall:5.2f}  " if card else f"{'-':>6} {'-':>5}  "
            for card in (one.held_out, one.unseen, one.prior)
        )
        lines.append(f"{one.program:{width}}  {one.samples:7}{cards.rstrip()}")
    return "\n".join(lines)
