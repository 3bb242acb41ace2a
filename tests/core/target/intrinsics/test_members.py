"""Every intrinsic through the schedule, as text, through gcc and on a host that has its ISA."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metasched.codegen import emit
from metasched.errors import CodegenError
from metasched.ir.expr import int_value
from metasched.lower import lower
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from metasched.target.detect import FEATURE_FLAGS
from metasched.target.intrinsics import (
    DOT_BFLOAT16,
    DOT_INT8,
    FMA_FLOAT32,
    TENSOR_INTRINS,
    TensorIntrin,
)
from tests.core.codegen.running import run
from tests.core.lower.programs import Machine
from tests.core.schedule.programs import check
from tests.core.target.intrinsics.packed import matmul

Golden = Callable[[str], None]
EVERY = pytest.mark.parametrize(
    "name", [*DOT_INT8["u8s8"], *DOT_INT8["s8s8"], *FMA_FLOAT32, *DOT_BFLOAT16]
)


def tensorized(name: str, tiles: tuple[int, int, int] = (1, 2, 3)) -> Schedule:
    """A packed product with one intrinsic; ``tiles`` of it in each direction."""
    intrin = TENSOR_INTRINS[name]
    rows, columns, depth = sizes(intrin)
    m, n, k = (count * size for count, size in zip(tiles, (rows, columns, depth), strict=True))
    a, b, _ = (buffer.dtype for buffer in intrin.description.params)
    schedule = Schedule(matmul(m, n, k, a=str(a), b=str(b), columns=columns, depth=depth))
    block = schedule.get_block("c")
    split = [
        schedule.split(loop, [None, size])
        for loop, size in zip(schedule.get_loops(block), (rows, columns, depth), strict=True)
    ]
    schedule.reorder(*(outer for outer, _ in split), *(inner for _, inner in split))
    schedule.tensorize(split[0][1], name)
    return schedule


def sizes(intrin: TensorIntrin) -> tuple[int, int, int]:
    """Rows, columns and depth of a tile."""
    a, b, c = intrin.description.params
    shape = [int_value(s) or 0 for s in c.shape]
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    depth = 1 if len(b.shape) == 1 else int_value(b.shape[1]) or 0
    assert a.shape, "the first operand has elements"
    return rows, columns, depth


def machine(intrin: TensorIntrin) -> Machine:
    """A machine that has just the intrinsic."""
    wide = any(f.startswith("avx512") for f in intrin.features)
    registers = 32 if wide else 16
    return Machine(1, intrin.features, 512 if wide else 256, registers)


@EVERY
def test_schedule(name: str) -> None:
    check(tensorized(name))


@EVERY
def test_text(name: str, golden: Golden) -> None:
    schedule, target = tensorized(name), machine(TENSOR_INTRINS[name])
    golden(emit(lower(schedule.program, target), target).text)


@EVERY
def test_a_target_without_the_isa_is_refused(name: str) -> None:
    intrin = TENSOR_INTRINS[name]
    (first, *_) = intrin.features
    with pytest.raises(CodegenError, match=f"extern '{intrin.externs[0]}' needs {first}.*lacks"):
        lower(tensorized(name).program, Machine(features=("sse4_2",)))


@pytest.mark.cc
@EVERY
def test_compiles(name: str, tmp_path: Path) -> None:
    intrin = TENSOR_INTRINS[name]
    flags = ["-march=x86-64", *(FEATURE_FLAGS[f] for f in intrin.features)]
    if Target("cpu").arch != "x86_64" or not gcc_takes(flags):
        pytest.skip(f"gcc cannot compile {', '.join(intrin.features)}")
    target = machine(intrin)
    path = tmp_path / "kernel.c"
    path.write_text(emit(lower(tensorized(name).program, target), target).text)
    command = ["gcc", "-O1", "-std=gnu17", "-w", *flags, "-c", str(path), "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def gcc_takes(flags: list[str]) -> bool:
    """Whether the compiler knows some flags."""
    command = ["gcc", *flags, "-x", "c", "-c", "/dev/null", "-o", "/dev/null"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.cc
@EVERY
@pytest.mark.parametrize("tiles", [(1, 1, 1), (3, 2, 5), (5, 1, 16)])
def test_results(name: str, tiles: tuple[int, int, int], tmp_path: Path) -> None:
    intrin = TENSOR_INTRINS[name]
    if missing := intrin.missing(Target("cpu").features):
        pytest.skip(f"this host lacks {', '.join(missing)}")
    program = tensorized(name, tiles).program
    rng = np.random.default_rng(5)
    inputs = {b.name: operand(rng, b.dtype.numpy(), b.shape, str(b.dtype)) for b in program.inputs}
    got = run(program, inputs, tmp_path, machine=machine(intrin))["c"]
    wide = {key: widened(array) for key, array in inputs.items()}
    packed = wide["b"]
    columns, depth = packed.shape[2:]
    b = packed.transpose(1, 3, 0, 2).reshape(packed.shape[1] * depth, -1)
    assert b.shape[1] == packed.shape[0] * columns
    want = wide["a"] @ b
    if got.dtype == np.int32:
        np.testing.assert_array_equal(got, want.astype(np.int64))
    else:
        # Products are summed in another order; bfloat16 pairs are rounded on the way, too.
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5 * wide["a"].shape[1])


def operand(rng: np.random.Generator, numpy: np.dtype, shape: tuple, dtype: str) -> np.ndarray:
    extents = tuple(int_value(s) or 0 for s in shape)
    if numpy.kind in "iu" and dtype != "bfloat16":
        info = np.iinfo(numpy)
        made = rng.integers(info.min, info.max + 1, extents).astype(numpy)
        made.reshape(-1)[:4] = (info.min, info.max, info.min, info.max)
        return made
    numbers = rng.uniform(-1, 1, extents).astype(np.float32)
    return (numbers.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else numbers


def widened(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
