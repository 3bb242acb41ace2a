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

    rows = [_describe_cpu(Target("cpu")), _describe_cuda(), _describe_opencl()]
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
    return _row("cpu", missing, facts, target.key())


def _peak_text(target: Any) -> str:
    from metasched.progress import peak_rates

    rates = [f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in peak_rates(target).items()]
    return ", ".join(rates) or figures.NOTHING


def _describe_cuda() -> dict[str, Any]:
    from importlib.util import find_spec

    from metasched.errors import ToolchainError
    from metasched.target import Target
    from metasched.target.cuda_device import cuda_devices, missing_device
    from metasched.target.cuda_toolchain import find_cuda

    missing = [missing_device()] if missing_device() else []
    if find_spec("pycuda") is None:
        missing.append("pip install 'metasched[cuda]' for pycuda, which runs kernels")
    facts = {f"device {n}": f"{d.model} ({d.arch})" for n, d in enumerate(cuda_devices())}
    try:
        facts["compiler"] = f"{find_cuda()}, which builds for any GPU: --target cuda:sm_90"
    except ToolchainError as error:
        missing.append(str(error))
    key = Target("cuda").key() if cuda_devices() else ""
    return _row("cuda", "; ".join(missing), facts, key)


def _describe_opencl() -> dict[str, Any]:
    from metasched.target import Target
    from metasched.target.opencl_device import device_name, missing_opencl, opencl_devices

    target, missing = Target("opencl"), missing_opencl()
    facts = {"machine": str(target)}
    if not missing:
        devices = enumerate(opencl_devices())
        facts |= {f"device {number}": device_name(device) for number, device in devices}
    return _row("opencl", missing, facts, target.key())


def _row(target: str, missing: str, facts: dict[str, str], key: str) -> dict[str, Any]:
    return {
        "target": target,
        "ready": not missing,
        "missing": missing,
        "facts": facts,
        "key": key,
    }
