from __future__ import annotations

import numpy as np
import pytest

from metasched.ir.dtype import DType
from metasched.measure import inputs
from metasched.measure.inputs import checksum, make_arguments
from metasched.measure.records import ArgSpec

DTYPES = ("float64", "float32", "float16", "bfloat16", "int8", "int64", "uint8", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_follow_the_seed_and_outputs_are_poisoned(dtype: str) -> None:
    args = (ArgSpec("a", (3, 50), dtype, False), ArgSpec("b", (150,), dtype, True))
    first, again, other = (make_arguments(args, seed) for seed in (1, 1, 2))
    assert first[0].array.dtype == DType.of(dtype).numpy()
    assert first[0].array.shape == (3, 50)
    np.testing.assert_array_equal(first[0].array, again[0].array)
    assert (first[0].array != other[0].array).any()
    values = inputs.as_float(first[0].array, dtype)
    assert np.abs(values).max() <= (1.0 if DType.of(dtype).is_float else 8.0)
    assert len(np.unique(values)) > 1
    poison = first[1].array
    if DType.of(dtype).is_float:
        assert np.isnan(inputs.as_float(poison, dtype)).all()
    else:
        assert set(poison.view(np.uint8).tolist()) == {0x5B}


def test_names_do_not_matter_so_a_reference_gets_the_same_inputs() -> None:
    one, two = (make_arguments((ArgSpec(name, (9,), "float32", False),), 3) for name in "ab")
    np.testing.assert_array_equal(one[0].array, two[0].array)


def test_large_inputs_do_not_repeat_at_a_fixed_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_DRAWN", 64)
    (big,) = make_arguments((ArgSpec("a", (1000,), "float32", False),), 0)
    flat = big.array
    assert (flat[:64] != flat[64:128]).any()
    assert np.isfinite(flat).all()


@pytest.mark.parametrize("shape", [(), (1,), (7, 3)])
def test_arrays_are_aligned_and_guarded(shape: tuple[int, ...]) -> None:
    (guarded,) = make_arguments((ArgSpec("b", shape, "int8", True),), 0)
    assert guarded.array.ctypes.data % 64 == 0
    assert guarded.array.shape == shape
    assert guarded.is_guard_intact()
    begin = guarded.array.ctypes.data - guarded.memory.ctypes.data
    for place in (begin - 1, begin + guarded.array.nbytes):
        kept = guarded.memory[place]
        guarded.memory[place] ^= 1
        assert not guarded.is_guard_intact()
        guarded.memory[place] = kept


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
def test_a_changed_input_is_noticed(dtype: str) -> None:
    (guarded,) = make_arguments((ArgSpec("a", (37,), dtype, False),), 0)
    assert guarded.is_unchanged()
    guarded.array.view(np.uint8)[-1] ^= 1
    assert not guarded.is_unchanged()


def test_the_checksum_sees_every_byte() -> None:
    data = np.arange(21, dtype=np.uint8)
    for place in range(21):
        changed = data.copy()
        changed[place] ^= 0x10
        assert checksum(changed) != checksum(data)
