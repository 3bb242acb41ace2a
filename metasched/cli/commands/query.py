"""`metasched query`: the best records of a program, as a compiler looks them up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from metasched import figures
from metasched.cli import options

if TYPE_CHECKING:
    from metasched.cli.family import Sizes
    from metasched.database import TuningRecord
    from metasched.database.explain import Explanation, Part
    from metasched.target import Target

_WORDS = 4
"""Names beyond so many are a list, such as the features of a processor."""


@click.command()
@options.program
@options.target
@options.database
@click.option("--top", default=1, show_default=True, help="How many records, the best first.")
@click.option("--source", is_flag=True, help="Also print the source of the best kernel.")
@click.option("--explain", is_flag=True, help="Say why there is this record, or none.")
@options.as_json
def query(
    op: str,
    pairs: tuple[str, ...],
    target: str,
    url: str,
    top: int,
    source: bool,
    explain: bool,
    as_json: bool,
) -> int:
    """Look up the best records of a program.

    With a range for one size, such as m=1..512, show the schedules that serve its sizes, and what
    they lose.

    Nothing is measured. The exit status is 1 when there is no record; the message then says which
    part of the key differs from what the database holds.

    OP is an operator of metasched.ops, module:function, or file.py:function.
    """
    from metasched import compiling
    from metasched.analysis.flops import flops
    from metasched.cli.family import load_family
    from metasched.cli.program import load_program
    from metasched.database import open_database
    from metasched.target import Target

    family = load_family(op, pairs)
    if family is not None:
        return _query_range(family, Target(target), url, as_json)
    program, goal = load_program(op, pairs), Target(target)
    options.require_file(url)
    with open_database(url) as database:
        if explain:
            return _explain(database.explain(program, goal), as_json)
        records = database.top(program, goal, top)
        if not records:
            click.echo(f"metasched: {database.explain_miss(program, goal)}", err=True)
            return 1
        text = compiling.compile(program, goal, database).source if source else None
    work = flops(program)
    if as_json:
        found = [record_json(record, work) for record in records]
        value = {"program": program.name, "target": str(goal), "flops": work, "records": found}
        options.print_json(value | ({"source": text} if source else {}))
        return 0
    click.echo(_table(records, work))
    if text is not None:
        click.echo(text)
    return 0


def _query_range(family: Sizes, goal: Target, url: str, as_json: bool) -> int:
    from metasched.cli.family import dispatch_json, dispatch_text
    from metasched.database import open_database
    from metasched.shapes import load_dispatch

    options.require_file(url)
    with open_database(url) as database:
        dispatch = load_dispatch(family.make, goal, database)
    if dispatch is None:
        missing = f"no schedules for a range of {family.key} on {goal}"
        click.echo(f"metasched: {missing}; run `metasched tune` with the same words", err=True)
        return 1
    if as_json:
        asked = {"key": family.key, "target": str(goal), "database": url}
        options.print_json(asked | dispatch_json(dispatch))
    else:
        click.echo(dispatch_text(family, dispatch))
    return 0


def _explain(found: Explanation, as_json: bool) -> int:
    if as_json:
        options.print_json(found.to_dict())
    else:
        width = max((len(part.name) for part in found.parts), default=0)
        lines = [f"{part.name:{width}}  {_answer(part)}" for part in found.parts]
        click.echo("\n".join((found.summary, *lines)))
    return 0 if found.is_hit else 1


def _answer(part: Part) -> str:
    """A part that is the same is said once; of lists of names, what only one of the two has."""
    if part.verdict == "same":
        return part.asked
    if not part.asked:
        return f"{part.found} ({part.verdict})" if part.verdict else part.found
    asked, found = part.asked, part.found
    if _is_list(asked) or _is_list(found):
        asked, found = _only_in(asked, found), _only_in(found, asked)
    return f"{part.verdict}: {found} on record, {asked} asked"


def _is_list(text: str) -> bool:
    return len(text.split()) > _WORDS and text.replace(" ", "").replace("_", "").isalnum()


def _only_in(text: str, other: str) -> str:
    return " ".join(word for word in text.split() if word not in other.split()) or "nothing more"


def record_json(record: TuningRecord, work: float) -> dict[str, Any]:
    """A servable record as JSON values; ``work`` is the operations of one call."""
    return {
        "time_s": record.time_s,
        "gflops": work / record.time_s / 1e9 if record.time_s else None,
        "samples_s": list(record.samples_s),
        "program_hash": record.program_hash,
        "source_hash": record.source_hash,
        "max_error": record.evidence.get("max_error"),
        "tolerance": record.evidence.get("tolerance"),
        "job": record.job_id,
        "created_at": record.created_at.isoformat(),
        "trace": record.trace,
    }


def _table(records: tuple[TuningRecord, ...], work: float) -> str:
    rows = [
        (
            record.program_hash[:12],
            figures.microseconds(record.time_s),
            figures.gflops(work, record.time_s),
            str(len(record.samples_s)),
            f"{record.created_at:%Y-%m-%d %H:%M}",
        )
        for record in records
    ]
    return figures.table(("candidate", "us", "GFLOP/s", "samples", "measured (UTC)"), rows)
