"""Every input of a lookup's key changes it, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from metasched.testing.database_records import make_target

CHANGES: dict[str, Any] = {
    "kind": "gpu",
    "arch": "riscv64",
    "features": ["other"],
    "cores": 999,
    "vector_bits": 4096,
    "l1_bytes": 12345,
    "l2_bytes": 123456,
    "l3_bytes": 1234567,
    "toolchain": "gcc 99.9.9",
}
FREE: dict[str, Any] = {"model": "Another CPU", "line_bytes": 123, "vector_registers": 99}


def test_every_field_is_tried() -> None:
    assert set(make_target().to_dict()) == set(CHANGES) | set(FREE)


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_which_kernels_are_good_changes_the_key(name: str) -> None:
    assert make_target(**{name: CHANGES[name]}).key() != make_target().key()


@pytest.mark.parametrize("name", FREE)
def test_what_follows_from_the_rest_does_not(name: str) -> None:
    assert make_target(**{name: FREE[name]}).key() == make_target().key()
