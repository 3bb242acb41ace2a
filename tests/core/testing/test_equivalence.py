from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.testing.equivalence import check_equivalent, random_inputs
from metasched.testing.suite import SUITE, small


@pytest.mark.parametrize("name", SUITE)
def test_programs_equal_themselves(name: str) -> None:
    check_equivalent(small(name), small(name))


def test_a_changed_program_is_noticed() -> None:
    program = ops.matmul(m=4, n=5, k=6)
    wrong = parse(str(program).replace("reduce(6, k)", "reduce(6, k // 2 * 2)"))
    with pytest.raises(AssertionError, match="output 'c' of"):
        check_equivalent(program, wrong)


def test_inputs_are_whole_numbers_of_every_dtype() -> None:
    def sums(dtype: str) -> Program:
        n = te.var("n")
        a = te.placeholder((n,), dtype, name="a")
        return te.program([a, te.compute((n,), lambda i: a[i], name="b")])

    for dtype in ("float32", "float64", "int8", "uint8", "bfloat16"):
        (array,) = random_inputs(sums(dtype), seed=1, sizes={"n": 50}).values()
        assert array.shape == (50,)
        again = random_inputs(sums(dtype), seed=1, sizes={"n": 50})["a"]
        assert (array == again).all()
    check_equivalent(sums("bfloat16"), sums("bfloat16"), sizes={"n": 50})
