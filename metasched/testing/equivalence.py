"""Whether two programs compute the same, by running both through the reference interpreter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metasched.ir.expr import Buffer, const
from metasched.ir.printer import free_sizes
from metasched.ir.reference import Array, concrete_shape, evaluate
from metasched.ir.stmt import Program
from metasched.schedule.index_map import IndexMap


def random_inputs(
    program: Program, *, seed: int, sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Small whole numbers for every input, so that float sums are exact in any order.

    Args:
        program: whose inputs to make.
        seed: of the random numbers.
        sizes: values of symbolic sizes by name.
    """
    rng = np.random.default_rng(seed)
    values = {v: const((sizes or {})[v.name], v.dtype) for v in free_sizes(program)}
    return {b.name: _whole(rng, b, concrete_shape(b, values)) for b in program.inputs}


def _whole(rng: np.random.Generator, buffer: Buffer, shape: tuple[int, ...]) -> Array:
    dtype = buffer.dtype
    low = 0 if dtype.code in ("uint", "bool") else -4
    numbers = rng.integers(low, 2 if dtype.code == "bool" else 5, size=shape)
    if dtype.code == "bfloat":
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(dtype.numpy())


def check_equivalent(
    expected: Program,
    actual: Program,
    *,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    rtol: float = 1e-9,
    layouts: Mapping[str, IndexMap] | None = None,
    pad_value: float = 0.0,
) -> None:
    """Compare the outputs of two programs on random inputs, in double precision.

    Args:
        expected: the program that says what is right.
        actual: the program to check.
        seed: of the random inputs.
        sizes: values of symbolic sizes by name.
        rtol: how far outputs may differ.
        layouts: the layout of each parameter that the actual program takes transformed.
        pad_value: what the padding of such parameters holds, of outputs as well.

    Raises:
        AssertionError: an output differs; the message holds the printed program.
    """
    inputs = random_inputs(expected, seed=seed, sizes=sizes)
    want = evaluate(expected, inputs, sizes=sizes)
    for name, index_map in (layouts or {}).items():
        for arrays in (inputs, want):
            if name in arrays:
                arrays[name] = index_map.map_array(arrays[name], pad_value)
    got = evaluate(actual, inputs, sizes=sizes)
    for name, array in want.items():
        np.testing.assert_allclose(
            got[name], array, rtol=rtol, atol=rtol, err_msg=f"output '{name}' of\n{actual}"
        )
