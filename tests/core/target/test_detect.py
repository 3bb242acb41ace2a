from __future__ import annotations

from pathlib import Path

import pytest

from metasched.target import detect


def test_cpuinfo_gives_the_first_processor() -> None:
    text = "processor\t: 0\nmodel name\t: A\nflags\t: fma avx2\n\nprocessor\t: 1\nmodel name\t: B\n"
    assert detect.parse_cpuinfo(text)["model name"] == "A"
    assert detect.parse_cpuinfo(text)["flags"] == "fma avx2"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", 4), ("150000 100000\n", 2), ("50000 100000", 1), ("", 4), ("1 0", 4)],
)
def test_a_control_group_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(detect, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(detect.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert detect.usable_cores() == cores


def test_a_host_that_tells_nothing_gets_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_CPUINFO", "_CACHES", "_CGROUP_QUOTA"):
        monkeypatch.setattr(detect, name, tmp_path / "absent")
    detect._fixed_facts.cache_clear()
    try:
        facts = detect.host_facts()
    finally:
        detect._fixed_facts.cache_clear()
    assert facts["features"] == ()
    assert facts["vector_bits"] == 128
    assert (facts["l1_bytes"], facts["l2_bytes"], facts["l3_bytes"]) == (32768, 524288, 4194304)


def test_caches_are_read_by_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "64K"), ("2", "Unified", "2M")]
    ):
        folder = tmp_path / "cpu0" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in [("level", level), ("type", kind), ("size", size)]:
            (folder / name).write_text(f"{text}\n")
        (folder / "coherency_line_size").write_text("128\n")
    monkeypatch.setattr(detect, "_first_core", lambda: 0)
    assert detect._cache_sizes(tmp_path) == ({1: 48 << 10, 2: 2 << 20}, 128)
