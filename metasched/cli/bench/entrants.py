"""Who takes part in a bench, and what each needs to be there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from metasched.cli.bench.peer import Peer
from metasched.errors import UsageError, suggest
from metasched.testing.numpy_reference import NATURAL

OWN: Final = "metasched"


@dataclass(frozen=True, slots=True)
class Entrant:
    """One side of a comparison.

    Attributes:
        name: how it is called in the tables.
        script: its program in the folder ``peers``.
        modules: what its interpreter must have.
        remedy: how to install that.
        natural: the operators it takes part in; empty for all.
        binds: whether its OpenMP threads are bound to cores, which makes times steadier. TVM binds
            its threads by itself, and its build workers would inherit the binding of OpenMP's.
        interpreter: runs it.
    """

    name: str
    script: str
    modules: tuple[str, ...] = ()
    remedy: str = ""
    natural: frozenset[str] = frozenset()
    binds: bool = True
    interpreter: str = sys.executable

    def takes(self, op: str) -> bool:
        """Whether it has the operator."""
        return not self.natural or op in self.natural

    def start(self, cores: int) -> Peer:
        """Start its process with as many threads as there are cores."""
        script = Path(__file__).parent / "peers" / self.script
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS"),
            str(cores),
        )
        # The folder of an installed package may be shared or read-only.
        environment = {**threads, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.binds:
            environment |= {"OMP_PROC_BIND": "true", "OMP_DYNAMIC": "false"}
        return Peer(self.name, (self.interpreter, str(script)), environment)


_OWN: Final = Entrant(OWN, "own_peer.py")
_KNOWN: Final = {
    "numpy": Entrant("numpy", "numpy_peer.py", natural=NATURAL),
    "torch": Entrant("torch", "torch_peer.py", ("torch", "numpy"), "pip install torch numpy"),
    "tvm": Entrant(
        "tvm",
        "tvm_peer.py",
        ("tvm", "numpy", "xgboost", "cloudpickle", "psutil"),
        "pip install apache-tvm numpy xgboost cloudpickle psutil",
        binds=False,
    ),
}


def choose(against: str, python: str | None) -> tuple[Entrant, ...]:
    """The entrants of a bench, metasched first.

    Args:
        against: names, separated by commas; may be empty.
        python: an interpreter that has torch or TVM.

    Raises:
        UsageError: a name is unknown, or the interpreter is missing or lacks a module.

    >>> [entrant.name for entrant in choose("numpy", None)]
    ['metasched', 'numpy']
    """
    names = dict.fromkeys(name.strip() for name in against.split(",") if name.strip())
    return (_OWN, *(_choose_one(name, python) for name in names))


def _choose_one(name: str, python: str | None) -> Entrant:
    if name not in _KNOWN:
        raise UsageError(f"unknown entrant '{name}' after --against{suggest(name, _KNOWN)}")
    entrant = _KNOWN[name]
    if not entrant.modules:
        return entrant
    if python is None:
        raise UsageError(f"--against {name} needs --python PATH, an interpreter that has {name}")
    interpreter = shutil.which(python)
    if interpreter is None:
        raise UsageError(f"no interpreter '{python}'; give the path of a python after --python")
    _check_modules(interpreter, entrant)
    return replace(entrant, interpreter=interpreter)


def _check_modules(interpreter: str, entrant: Entrant) -> None:
    missing = _missing(interpreter, entrant.modules)
    if missing:
        lacks = ", ".join(missing)
        raise UsageError(f"{interpreter} has no {lacks}; run `{interpreter} -m {entrant.remedy}`")


def _missing(interpreter: str, modules: Sequence[str]) -> list[str]:
    """Which modules an interpreter lacks, found out without importing them."""
    code = (
        "import importlib.util as u, sys;"
        "print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
    )
    try:
        done = subprocess.run(
            [interpreter, "-c", code, *modules],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"'{interpreter}' is no Python interpreter: {error}") from error
    return done.stdout.split()
