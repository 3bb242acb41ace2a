"""`metasched db`: look after a tuning database."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from metasched.cli import options

if TYPE_CHECKING:
    from metasched.database import AbstractDatabase


_PROGRAM = "A program that the records of TVM may be of; may be given several times."


@click.group(invoke_without_command=True)
@click.pass_context
def db(context: click.Context) -> None:
    """Look after a tuning database: its schema, records, trust, and what goes in and out."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@db.command()
@options.database
@click.option("--to", "revision", metavar="SCHEMA", help="Go to this schema, up or down.")
@options.as_json
def upgrade(url: str, revision: str | None, as_json: bool) -> None:
    """Bring the schema of a database to this version, or to that of an earlier release."""
    with _existing(url) as database:
        # Opening a database upgrades it.
        count = database.stats().records
        if revision is not None:
            database.change_schema(revision)
    state = "up to date" if revision is None else f"at schema {revision}"
    value: dict[str, object] = {
        "database": url,
        "records": count,
        "schema": revision or "newest",
    }
    _report(as_json, value, f"{url} is {state}, {count} records")


@db.command()
@options.database
@options.as_json
def stats(url: str, as_json: bool) -> None:
    """Count what a database holds."""
    with _existing(url) as database:
        held = database.stats()
        names = sorted({workload.name for workload in database.workloads()})
    by_status = {str(status): count for status, count in held.by_status.items()}
    value: dict[str, object] = {
        "database": url,
        "workloads": held.workloads,
        "targets": held.targets,
        "jobs": held.jobs,
        "records": held.records,
        "servable": held.servable,
        "by_status": by_status,
        "programs": names,
    }
    counts = ", ".join(f"{count} {status}" for status, count in by_status.items()) or "none"
    lines = [f"{name:10} {value[name]}" for name in ("workloads", "targets", "jobs", "servable")]
    lines += [f"{'records':10} {held.records} ({counts})", f"{'programs':10} {', '.join(names)}"]
    _report(as_json, value, "\n".join(line.rstrip() for line in lines))


@db.command()
@click.argument("path", type=click.Path(dir_okay=False))
@options.database
@options.as_json
def export(path: str, url: str, as_json: bool) -> None:
    """Write all records to PATH as JSON lines."""
    with _existing(url) as database:
        count = database.export(path)
    _report(as_json, {"path": path, "records": count}, f"wrote {count} records to {path}")


@db.command("import")
@click.argument("path", type=click.Path())
@options.database
@click.option(
    "--format",
    "kind",
    type=click.Choice(("metasched", "tvm", "t4", "kernel-tuner")),
    default="metasched",
    show_default=True,
    help="Whose file it is.",
)
@click.option("--program", "programs", multiple=True, metavar="'OP KEY=VALUE ...'", help=_PROGRAM)
@options.target
@options.as_json
def import_(
    path: str, url: str, kind: str, programs: tuple[str, ...], target: str, as_json: bool
) -> None:
    """Merge the records of an export at PATH into a database, or those of another tuner."""
    from metasched.cli.program import load_program
    from metasched.database import open_database
    from metasched.errors import UsageError
    from metasched.interchange import import_foreign

    if not os.path.exists(path):
        raise UsageError(f"no file '{path}'; give one that `metasched db export` wrote")
    loaded = [load_program(op, pairs) for op, *pairs in map(shlex.split, programs)]
    with open_database(url) as database:
        if kind == "metasched":
            count = database.import_(path)
            found: dict[str, object] = {"database": url, "records": count}
            _report(as_json, found, f"read {count} records into {url}")
            return
        report = import_foreign(database, path, kind, programs=loaded, target=target)
    lines = [f"read {len(report.records)} records of {report.format} into {url}"]
    lines += [f"skipped {count}: {reason}" for reason, count in report.skipped.most_common()]
    lines += [f"lost {count}: {what}" for what, count in report.lost.most_common()]
    _report(as_json, {"database": url, **report.to_dict()}, "\n".join(lines))


@db.command()
@click.argument("other", metavar="URL")
@options.database
@click.option("--source", help="What to call it in the provenance of records; its URL by default.")
@options.as_json
def merge(other: str, url: str, source: str | None, as_json: bool) -> None:
    """Merge the database at URL into the one of --db."""
    from metasched.database import open_database

    with _existing(other) as theirs, open_database(url) as database:
        report = database.merge(theirs, source)
    found = [asdict(disagreement) for disagreement in report.disagreements]
    value: dict[str, object] = {
        "database": url,
        "source": report.source,
        "records": report.records,
        "shared": report.shared,
        "disagreements": found,
    }
    lines = [
        f"merged {report.records} records into {url}, {report.shared} timed by both,"
        f" {len(found)} of them with times that disagree"
    ]
    lines += [
        f"suspect: '{d.workload}' candidate {d.program_hash[:12]}, {d.here_s * 1e6:.3g} us here,"
        f" {d.there_s * 1e6:.3g} us there ({d.ratio:.2f} times)"
        for d in report.disagreements
    ]
    _report(as_json, value, "\n".join(lines))


@db.command()
@options.target
@options.database
@click.option("--top", default=1, show_default=True, help="Fastest records of each program.")
@click.option("--seed", default=1, show_default=True, help="Seed of the inputs.")
@click.option("--imported", is_flag=True, help="Also records that nothing proves yet.")
@click.option("--workers", default="local", show_default=True, help="Who builds and measures.")
@options.as_json
def verify(
    target: str, url: str, top: int, seed: int, imported: bool, workers: str, as_json: bool
) -> int:
    """Check and time the winners again, and mark them current, suspect or stale.

    The exit status is 1 when one is not current.
    """
    from metasched.database import Trust
    from metasched.verifying import verify

    with _existing(url) as database:
        verdicts = verify(
            database, target=target, top=top, seed=seed, imported=imported, workers=workers
        )
    found: list[dict[str, object]] = [
        {
            "workload": verdict.record.workload.name,
            "program_hash": verdict.record.program_hash,
            "verdict": str(verdict.trust or verdict.record.status),
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    lines = [f"{v['verdict']:10} '{v['workload']}' {v['reason']}" for v in found]
    lines.append(f"verified {len(found)} records of {url} for target {target}")
    _report(as_json, {"database": url, "records": found}, "\n".join(lines))
    return 0 if all(verdict.trust is Trust.CURRENT for verdict in verdicts) else 1


@db.command()
@click.argument("path", type=click.Path(dir_okay=False))
@options.database
@options.as_json
def snapshot(path: str, url: str, as_json: bool) -> None:
    """Write the winners to PATH, a lock file that is looked up by `--db snapshot:PATH`."""
    from metasched.database import write_snapshot

    with _existing(url) as database:
        count = write_snapshot(database, path)
    _report(as_json, {"path": path, "winners": count}, f"wrote {count} winners to {path}")


@db.command()
@click.argument("job", required=False)
@options.database
@click.option("--out", type=click.Path(dir_okay=False), help="Write an SVG file instead.")
@options.as_json
def progress(job: str | None, url: str, out: str | None, as_json: bool) -> None:
    """Plot the best time over the trials of JOB, the last one by default."""
    from metasched.cli.plot import as_svg, as_text, curves
    from metasched.errors import UsageError, suggest

    with _existing(url) as database:
        jobs = {one.id: one for one in database.jobs()}
        if not jobs:
            raise UsageError(f"{url} holds no jobs; tune first")
        wanted = job or next(reversed(jobs))
        matching = [known for known in jobs if known.startswith(wanted)]
        if len(matching) != 1:
            raise UsageError(f"no single job '{wanted}'{suggest(wanted, jobs)}")
        lines = curves(database.records(job_id=matching[0]))
    if as_json:
        values = [{"workload": c.name, "trials": c.trials, "best": list(c.steps)} for c in lines]
        options.print_json({"job": matching[0], "curves": values})
    elif out is None:
        click.echo(as_text(matching[0], lines))
    else:
        options.write_text(out, as_svg(matching[0], lines))
        click.echo(f"wrote {out}")


@db.command()
@click.option("--keep", default=16, show_default=True, help="Records kept of each program.")
@options.database
@options.as_json
def prune(keep: int, url: str, as_json: bool) -> None:
    """Keep the fastest records of each program and target, and delete the rest."""
    with _existing(url) as database:
        count = database.prune(keep)
    _report(as_json, {"database": url, "deleted": count}, f"deleted {count} records of {url}")


@contextmanager
def _existing(url: str) -> Generator[AbstractDatabase]:
    """Open a database that must be there: looking at one must not create it."""
    from metasched.database import open_database

    options.require_file(url)
    with open_database(url) as database:
        yield database


def _report(as_json: bool, value: dict[str, object], text: str) -> None:
    if as_json:
        options.print_json(value)
    else:
        click.echo(text)
