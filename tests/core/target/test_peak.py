from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from metasched.target import Target, peak

pytestmark = pytest.mark.cc


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METASCHED_CACHE", str(tmp_path))
    return tmp_path


def test_the_peak_is_plausible_and_measured_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target("cpu", cores=1)
    found = peak.measure_peak(target)
    assert 1e9 < found.float64_flops < found.float32_flops < 1e12
    assert 1e9 < found.memory_bytes_per_s < found.l1_bytes_per_s < 1e13
    stored = [path for path in folder.iterdir() if path.name.startswith("peak-")]
    assert json.loads(stored[0].read_text()) == asdict(found)

    peak._peak.cache_clear()
    monkeypatch.setattr(peak, "_measure", lambda target: pytest.fail("measured again"))
    assert peak.measure_peak(target) == found


def test_a_damaged_file_is_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, made = Target("cpu", cores=3), peak.Peak(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    monkeypatch.setattr(peak, "_measure", lambda target: made)
    for text in ("", "[]", '{"float32_flops": "x"}'):
        (folder / f"peak-1-{target.key()}.json").write_text(text)
        peak._peak.cache_clear()
        assert peak.measure_peak(target) == made
