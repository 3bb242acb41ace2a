"""Folders that are removed even when the process that made them is killed.

A driver leaves a broom behind. The processes of a host may be killed with all below it, so that the
next host there removes what it left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_SWEEP: Final = 'cat >/dev/null; for _ in 1 2 3 4 5; do rm -rf -- "$1"; sleep 1; done'
"""Waits until the pipe breaks, then removes what dying processes still write to."""
_NAME = re.compile(r"metasched-host-(\d+)-(\d+)-")


class Broom:
    """Removes a folder, at the latest when this process has ended, however that happened.

    Args:
        folder: What is removed with all in it.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        command = ["sh", "-c", _SWEEP, "sh", folder]
        # In a session of its own, since Ctrl-C and closed terminals end a whole group.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def sweep(self) -> None:
        """Remove the folder now."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


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
