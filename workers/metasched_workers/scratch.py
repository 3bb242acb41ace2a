"""The folder of a host: all that it and its processes write, removed by whoever finds it orphaned.

Worker processes remove their own files when their parent dies, but they may be killed with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

_NAME = re.compile(r"metasched-host-(\d+)-(\d+)-")


def claim_folder() -> str:
    """Make a folder for the temporary files of this process and of those below it.

    Folders of hosts that have ended are removed.
    """
    sweep(Path(tempfile.gettempdir()))
    prefix = f"metasched-host-{os.getpid()}-{_start_time(os.getpid())}-"
    folder = tempfile.mkdtemp(prefix=prefix)
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    return folder


def sweep(parent: Path) -> None:
    """Remove the folders of hosts that are no more; a process id may have been used again."""
    for entry in parent.glob("metasched-host-*"):
        found = _NAME.match(entry.name)
        if found and _start_time(int(found[1])) != found[2]:
            shutil.rmtree(entry, ignore_errors=True)


def _start_time(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
