"""Looks whether a device still works, in a process of its own with a deadline."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import numpy as np

from metasched import te
from metasched.compiling import compile as compile_program
from metasched_workers.engines import parse_target

_DEADLINE_S: Final = 30.0
_CHECK: Final = "from metasched_workers.probe import main; main()"
_SIZE: Final = 1 << 16
_ROUNDS: Final = 4


def probe(target: str) -> str:
    """Return what is wrong with the device of a target, or an empty text."""
    command = [sys.executable, "-c", _CHECK, target]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the device '{target}' did not answer a probe in {_DEADLINE_S:g} s"
    except OSError as error:
        return f"no process can be started: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip() or f"the probe ended with {done.returncode}").splitlines()[-1]
    return f"the device '{target}' failed a probe: {said}"


def main() -> None:
    """Compute something known on the device named on the command line."""
    a = te.placeholder((_SIZE,), "float32", name="a")
    doubled = te.compute((_SIZE,), lambda i: a[i] + a[i], name="doubled")
    kernel = compile_program(te.program([a, doubled], name="probe"), parse_target(sys.argv[1]))
    values = np.arange(_SIZE, dtype=np.float32)
    for _ in range(_ROUNDS):
        if not np.array_equal(np.asarray(kernel(values)), values + values):
            sys.exit("it computed a wrong sum")
