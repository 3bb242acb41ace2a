"""A reference interpreter: what a program means, element by element, scheduled or not.

The program is turned into Python source over flat lists and run. Loops of every kind run in
order, blocks honour predicates and inits, vectors are taken apart lane by lane. Reads and writes
outside a buffer and iteration variables outside their domain raise; memory that was never written
holds NaN (floats) or a sentinel (integers). Meant for tests and small sizes: some ten million
elementary steps a second at best. `reference_source` makes the text that `evaluate` runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from metasched.errors import UsageError
from metasched.ir import reference_math
from metasched.ir.expr import Buffer, Expr, Var, const, int_value
from metasched.ir.printer import free_sizes
from metasched.ir.reference_source import Precision, generate
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Program
from metasched.ir.walk import substitute

Array: TypeAlias = npt.NDArray[Any]


def evaluate(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    precision: Precision = "double",
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Run a program and return its outputs by name.

    Args:
        program: any program; symbolic sizes are read off the inputs' shapes.
        inputs: an array per input parameter, by name. bfloat16 ones hold uint16 bit patterns.
        precision: ``"double"`` computes floats in float64 and returns float64;
            ``"program"`` rounds every operation to its dtype and returns the program's dtypes.
        sizes: values of symbols that no input's shape gives.

    Raises:
        UsageError: an input is missing or of the wrong shape, or a size has no value.
        IndexError: the program touches an element outside a buffer, or an iteration variable
            leaves its domain; the message says which.

    >>> from metasched import ops
    >>> one = np.ones((2, 2))
    >>> evaluate(ops.matmul(m=2, n=2, k=2), {"a": one, "b": one})["c"].tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    values = _bind_sizes(program, inputs, sizes or {})
    outputs = program.outputs
    source = generate(program, values, precision)
    memory: dict[str, list[Any]] = {}
    for buffer, name in source.params.items():
        shape = concrete_shape(buffer, values)
        given = buffer not in outputs or buffer.name in inputs
        memory[name] = (
            _to_list(buffer, _given(buffer, shape, inputs), precision)
            if given
            else [reference_math.poison(buffer.dtype)] * int(np.prod(shape, dtype=np.int64))
        )
    namespace: dict[str, Any] = dict(reference_math.NAMES)
    exec(compile(source.text, f"<reference of {program.name}>", "exec"), namespace)
    cast(Callable[..., None], namespace["run"])(**memory)
    return {
        b.name: _to_array(b, memory[source.params[b]], concrete_shape(b, values), precision)
        for b in outputs
    }


def concrete_shape(buffer: Buffer, sizes: Mapping[Var, Expr]) -> tuple[int, ...]:
    """A buffer's shape with symbols replaced.

    Raises:
        UsageError: a size is still symbolic.
    """
    shape: list[int] = []
    for extent in buffer.shape:
        value = int_value(simplify(substitute(extent, sizes)))
        if value is None:
            raise UsageError(f"size {extent} of buffer '{buffer.name}' has no value; give sizes=")
        shape.append(value)
    return tuple(shape)


def _bind_sizes(
    program: Program, inputs: Mapping[str, Array], given: Mapping[str, int]
) -> dict[Var, Expr]:
    found: dict[str, int] = dict(given)
    for buffer in program.params:
        array = inputs.get(buffer.name)
        if array is None:
            continue
        for extent, size in zip(buffer.shape, np.shape(array), strict=False):
            if isinstance(extent, Var):
                found.setdefault(extent.name, int(size))
    missing = [v.name for v in free_sizes(program) if v.name not in found]
    if missing:
        raise UsageError(f"size '{missing[0]}' has no value; give sizes={{'{missing[0]}': ...}}")
    return {v: const(found[v.name], v.dtype) for v in free_sizes(program)}


def _given(buffer: Buffer, shape: tuple[int, ...], inputs: Mapping[str, Array]) -> Array:
    array = inputs.get(buffer.name)
    if array is None:
        raise UsageError(f"input '{buffer.name}' is missing; give an array of shape {shape}")
    if np.shape(array) != shape:
        raise UsageError(f"input '{buffer.name}' has shape {np.shape(array)}, expected {shape}")
    return np.asarray(array)


def _to_list(buffer: Buffer, array: Array, precision: Precision) -> list[Any]:
    dtype = buffer.dtype
    if dtype.code == "bfloat":
        return (array.astype(np.uint32) << 16).view(np.float32).ravel().tolist()
    target = np.float64 if dtype.is_float and precision == "double" else dtype.numpy()
    return array.astype(target).ravel().tolist()


def _to_array(
    buffer: Buffer, values: list[Any], shape: tuple[int, ...], precision: Precision
) -> Array:
    dtype = buffer.dtype
    if dtype.is_float and precision == "double":
        return np.array(values, np.float64).reshape(shape)
    if dtype.code == "bfloat":
        wide = np.array(values, np.float32).view(np.uint32) >> 16
        return wide.astype(np.uint16).reshape(shape)
    return np.array(values, dtype.numpy()).reshape(shape)
