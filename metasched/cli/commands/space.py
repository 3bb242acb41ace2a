"""`metasched space`: what the search space of a program holds, without measuring anything."""

from __future__ import annotations

import click

from metasched.cli import options


@click.command()
@options.program
@options.target
@click.option("--samples", default=8, show_default=True, help="Candidates to draw of each sketch.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option("--plot", metavar="FILE", help="Draw the report as an SVG picture, too.")
@options.as_json
def space(
    op: str,
    pairs: tuple[str, ...],
    target: str,
    samples: int,
    seed: int,
    plot: str | None,
    as_json: bool,
) -> None:
    """Show what the search space of a program holds.

    Lists its sketches with their sampling steps and sizes, what share of random samples each rule
    and postprocessor accepted, and why others were rejected. Nothing is built or measured.

    OP is an operator of metasched.ops, module:function, or file.py:function.
    """
    from metasched.cli.program import load_program
    from metasched.errors import UsageError
    from metasched.space.space import Space
    from metasched.target import Target

    if samples < 0:
        raise UsageError(f"--samples {samples} is given, expected at least 0")
    program, goal = load_program(op, pairs), Target(target)
    found = Space.default(goal.kind).report(program, goal, samples=samples, seed=seed)
    if plot is not None:
        options.write_text(plot, found.to_svg())
    if as_json:
        options.print_json(found.to_dict())
    else:
        click.echo(str(found))
