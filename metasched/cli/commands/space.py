"""`metasched space`: what the search space of a program holds, without measuring anything."""

from __future__ import annotations

import click

from metasched.cli import options


@click.command()
@options.program
@options.target
@click.option("--samples", default=8, show_default=True, help="Candidates to draw of each sketch.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@options.as_json
def space(
    op: str, pairs: tuple[str, ...], target: str, samples: int, seed: int, as_json: bool
) -> None:
    """Show what the search space of a program holds.

    Lists its sketches, their choices and sizes, how random samples fare in the postprocessors,
    and why rules left blocks alone. Nothing is built or measured.

    OP is an operator of metasched.ops, module:function, or file.py:function.
    """
    from metasched.cli.program import load_program
    from metasched.errors import UsageError
    from metasched.space.report import report
    from metasched.space.space import Space
    from metasched.target import Target

    if samples < 0:
        raise UsageError(f"--samples {samples} is given, expected at least 0")
    program, goal = load_program(op, pairs), Target(target)
    found = report(Space.default(goal.kind), program, goal, samples=samples, seed=seed)
    if as_json:
        options.print_json(found.to_dict())
    else:
        click.echo(str(found))
