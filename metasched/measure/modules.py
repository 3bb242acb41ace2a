"""Modules that come with a job: written to a folder by who ships them, imported by builders.

They register what a job has beyond this library, such as intrinsics of the user's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

_ORDER: Final = "modules.json"
_LOADED: Final[set[str]] = set()


def write_modules(folder: str | os.PathLike[str], sources: Mapping[str, str]) -> None:
    """Write modules by their names, in the order in which they are to be imported."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        is_package = any(other.startswith(f"{name}.") for other in sources)
        path = root.joinpath(*name.split("."))
        file = path / "__init__.py" if is_package else path.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    (root / _ORDER).write_text(json.dumps(list(sources)))


def load_modules(folder: str) -> None:
    """Import the modules of a folder, before installed ones; a second time does nothing."""
    if folder in _LOADED:
        return
    _LOADED.add(folder)
    sys.path.insert(0, folder)
    for name in json.loads((Path(folder) / _ORDER).read_text()):
        import_module(name)
