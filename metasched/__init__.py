"""metasched makes tensor programs fast on the machine that runs them.

    import metasched as ms

    program = ms.ops.matmul(m=512, n=512, k=512)
    ms.tune(program, target="cpu", database="sqlite:///tuning.db", trials=64)
    kernel = ms.compile(program, target="cpu", database="sqlite:///tuning.db")
    c = kernel(a, b)

Names load on first use, so that ``import metasched`` and worker processes start quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metasched import ops as ops
    from metasched import te as te
    from metasched.compiling import Kernel as Kernel
    from metasched.compiling import compile as compile  # noqa: A004
    from metasched.database import Database as Database
    from metasched.database import TuningRecord as TuningRecord
    from metasched.database import open_database as open_database
    from metasched.database import using as using
    from metasched.errors import MetaschedError as MetaschedError
    from metasched.ir.stmt import Program as Program
    from metasched.schedule.schedule import Schedule as Schedule
    from metasched.space.space import Space as Space
    from metasched.target import Target as Target
    from metasched.tuning import TuneResult as TuneResult
    from metasched.tuning import tune as tune

__version__ = "0.1.0"

_HOME = {
    "Database": "metasched.database",
    "Kernel": "metasched.compiling",
    "MetaschedError": "metasched.errors",
    "Program": "metasched.ir.stmt",
    "Schedule": "metasched.schedule.schedule",
    "Space": "metasched.space.space",
    "Target": "metasched.target",
    "TuneResult": "metasched.tuning",
    "TuningRecord": "metasched.database",
    "compile": "metasched.compiling",
    "open_database": "metasched.database",
    "tune": "metasched.tuning",
    "using": "metasched.database",
}
_MODULES = ("ops", "te")

__all__ = [*sorted(_HOME), *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"metasched.{name}")
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        # Bind it, so that the next access does not come here.
        globals()[name] = value
        return value
    raise AttributeError(f"module 'metasched' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
