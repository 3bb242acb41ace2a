"""The compiler keeps whole register tiles in registers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metasched.codegen import emit
from metasched.lower import lower
from tests.core.lower.programs import Machine, tiled_matmul

FLAGS = "-O3 -march=x86-64-v4 -std=gnu17 -ffp-contract=fast -fPIC -w -S -o -".split()


@pytest.mark.cc
@pytest.mark.parametrize(("rows", "vectors"), [(14, 2), (6, 4), (8, 2), (4, 4), (28, 1), (2, 12)])
def test_no_vector_is_spilled(rows: int, vectors: int, tmp_path: Path) -> None:
    program = tiled_matmul((1, 1, 1, rows), (1, 1, 1, 16 * vectors), (1, 64))
    path = tmp_path / "k.c"
    path.write_text(emit(lower(program, Machine()), Machine()).text)
    command = ["gcc", *FLAGS, str(path)]
    assembly = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = assembly.splitlines()
    assert sum("vfmadd" in line for line in lines) == rows * vectors
    assert not [line for line in lines if "zmm" in line and "sp)" in line]
