from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from metasched.target.cache import cache_dir, write_atomically


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCHED_CACHE", str(tmp_path / "deep" / "here"))
    assert cache_dir() == tmp_path / "deep" / "here"
    assert cache_dir().is_dir()


def test_an_unusable_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("METASCHED_CACHE", str(blocker / "below"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cache_dir().parent == tmp_path
    assert cache_dir().is_dir()


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"one")
    write_atomically(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 1
