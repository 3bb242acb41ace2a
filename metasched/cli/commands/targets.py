"""`metasched targets`: what this machine offers, and what is missing for the rest."""

from __future__ import annotations

from typing import Any

import click

from metasched import figures
from metasched.cli import options


@click.command()
@options.as_json
def targets(as_json: bool) -> None:
    """Show what this machine can tune for, and what is missing for the rest."""
    from metasched.target import Target

    rows = [_describe_cpu(Target("cpu")), *(_describe_planned(kind) for kind in ("cuda", "opencl"))]
    if as_json:
        options.print_json({"targets": rows})
        return
    for row in rows:
        click.echo(f"{row['target']}: {'ready' if row['ready'] else row['missing']}")
        for name, text in row["facts"].items():
            click.echo(f"  {name:10} {text}")


def _describe_cpu(target: Any) -> dict[str, Any]:
    from metasched.errors import ToolchainError
    from metasched.target.toolchain import find_toolchain

    missing = ""
    try:
        find_toolchain()
    except ToolchainError as error:
        missing = str(error)
    facts = {
        "machine": str(target),
        "compiler": target.toolchain,
        "caches": f"L1 {target.l1_bytes >> 10} KiB, L2 {target.l2_bytes >> 10} KiB a core, "
        f"L3 {target.l3_bytes >> 10} KiB",
        "features": " ".join(target.features),
    }
    if not missing:
        facts["peak"] = _peak_text(target)
    return {
        "target": "cpu",
        "ready": not missing,
        "missing": missing,
        "facts": facts,
        "key": target.key(),
    }


def _peak_text(target: Any) -> str:
    from metasched.progress import peak_rates

    rates = [f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in peak_rates(target).items()]
    return ", ".join(rates) or figures.NOTHING


def _describe_planned(kind: str) -> dict[str, Any]:
    from metasched.errors import UsageError
    from metasched.target import Target

    try:
        Target(kind)
    except UsageError as error:
        return {"target": kind, "ready": False, "missing": str(error), "facts": {}, "key": ""}
    return {"target": kind, "ready": True, "missing": "", "facts": {}, "key": ""}
