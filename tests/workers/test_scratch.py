"""Folders of hosts that have ended are removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from metasched_workers.scratch import claim_folder


def test_the_next_host_removes_what_a_dead_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    command = "from metasched_workers.scratch import claim_folder; print(claim_folder())"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    left = Path(done.stdout.strip())
    (left / "kernel.so").touch()
    other = tmp_path / "metasched-host-of-somebody"
    other.mkdir()
    mine = Path(claim_folder())
    assert not left.exists()
    assert other.exists()
    assert mine.parent == tmp_path
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(mine)


def test_a_killed_driver_leaves_no_kernels_behind(tmp_path: Path) -> None:
    command = (
        "import os, signal; from metasched_workers.artefacts import Store\n"
        "store = Store(); (store.folder / 'kernel.so').touch(); print(store.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, env=environment
    )
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path
    deadline = time.monotonic() + 10
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
