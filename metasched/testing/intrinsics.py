"""Whether a tensor intrinsic's implementation computes what its description says."""

from __future__ import annotations

import numpy as np

from metasched.ir.reference import Array, concrete_shape, evaluate
from metasched.target.intrinsics import TensorIntrin


def random_operands(intrin: TensorIntrin, *, seed: int) -> dict[str, Array]:
    """Numbers over the whole range of integers, small whole ones for floats, for all parameters."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for buffer in intrin.description.params:
        shape, dtype = concrete_shape(buffer, {}), buffer.dtype
        if dtype.is_int:
            info = np.iinfo(str(dtype))
            # Sums must not overflow: in the reference of either program they would wrap alike.
            low, high = (info.min, info.max) if dtype.bits < 32 else (-1000, 1000)
            made[buffer.name] = rng.integers(low, high + 1, size=shape).astype(dtype.numpy())
        else:
            numbers = rng.integers(-8, 9, size=shape).astype(np.float32)
            whole = (numbers.view(np.uint32) >> 16).astype(np.uint16)
            made[buffer.name] = whole if dtype.code == "bfloat" else numbers.astype(dtype.numpy())
    return made


def check_intrin(intrin: TensorIntrin, *, seed: int = 0) -> None:
    """Run description and implementation through the reference interpreter; needs no ISA.

    Raises:
        AssertionError: they give different results.
    """
    inputs = random_operands(intrin, seed=seed)
    want = evaluate(intrin.description, inputs)
    got = evaluate(intrin.implementation, inputs)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=f"'{name}' of {intrin.name}")
