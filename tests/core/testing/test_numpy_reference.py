import doctest

import numpy as np
import pytest

from metasched.errors import UsageError
from metasched.ir.reference import evaluate
from metasched.testing import numpy_reference
from metasched.testing.equivalence import random_inputs
from metasched.testing.numpy_reference import NATURAL, reference
from metasched.testing.suite import SMALL, SUITE, small


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(numpy_reference).failed == 0


@pytest.mark.parametrize("name", SUITE)
def test_the_reference_agrees_with_the_program(name: str) -> None:
    op, arguments = SUITE[name]
    program = small(name)
    inputs = random_inputs(program, seed=1)
    (want,) = evaluate(program, inputs).values()
    function = reference(op, {**arguments, **SMALL[name]})
    got = function(*(inputs[buffer.name].astype(np.float64) for buffer in program.inputs))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_every_natural_operator_has_a_reference() -> None:
    for op in NATURAL:
        assert callable(reference(op, {}))


def test_an_operator_without_reference_is_refused() -> None:
    with pytest.raises(UsageError, match="no NumPy reference of 'conv2b'; did you mean 'conv2d'"):
        reference("conv2b", {})
    with pytest.raises(UsageError, match="needs erf"):
        reference("dense", {"activation": "gelu"})
