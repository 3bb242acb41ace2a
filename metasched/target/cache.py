"""Where facts about this machine are kept between runs: one folder in the user's cache."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for cached facts: ``$METASCHED_CACHE`` or ``~/.cache/metasched``.

    A folder that cannot be written is replaced by a private one in the temporary folder, so
    that a read-only home costs time but is no failure.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    wanted = os.environ.get("METASCHED_CACHE") or f"{home}/metasched"
    spare = f"{tempfile.gettempdir()}/metasched-cache-{os.getuid()}"
    for name in (wanted, spare):
        folder = Path(name).expanduser()
        if _usable(folder, private=name == spare):
            return folder
    return Path(tempfile.mkdtemp(prefix="metasched-cache-"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader at any time sees all of it or the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)


def _usable(folder: Path, *, private: bool) -> bool:
    """Whether the folder can be written, and is this user's own where others could plant one."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owned = not private or folder.stat().st_uid == os.getuid()
    except OSError:
        return False
    return owned and os.access(folder, os.W_OK | os.X_OK)
