from __future__ import annotations

import pytest

from metasched.errors import CodegenError
from metasched.ir.parser import parse
from metasched.lower import Lowered, lower
from tests.core.lower.programs import Machine

TWO = """
@program
def two(a: Buffer(({n}, {m}), "float32"), c: Buffer(({n}, {m}), "float32")):
    b = alloc(({n}, {m}), "float32")
    for i in {first}({n}):
        for j in serial({m}):
            with block("b"):
                vi = spatial({n}, i)
                vj = spatial({m}, j)
                reads(a[vi, vj])
                writes(b[vi, vj])
                b[vi, vj] = a[vi, vj] + float32(1.0)
        {inner}
"""
READER = """for k in serial({m}):
    with block("c"):
        wi = spatial({n}, i)
        wj = spatial({m}, k)
        reads(b[wi, {m} - 1 - wj])
        writes(c[wi, wj])
        c[wi, wj] = b[wi, {m} - 1 - wj]"""


def lowered(n: str, m: str, kind: str) -> Lowered:
    reader = READER.format(n=n, m=m).replace("\n", "\n        ")
    return lower(parse(TWO.format(n=n, m=m, first=kind, inner=reader)), Machine(cores=3))


def test_small_private_buffers_are_on_the_stack() -> None:
    assert lowered("8", "100", "parallel").workspace_bytes == 0


def test_large_private_buffers_have_a_slot_for_each_thread() -> None:
    result = lowered("8", "20000", "parallel")
    assert result.workspace_bytes == 3 * 80000
    assert result.slots["b"].stride == 80000


def test_large_buffers_outside_threads_have_one_slot() -> None:
    result = lowered("8", "20000", "serial")
    assert result.workspace_bytes == 80000
    assert result.slots["b"].stride == 0


def test_symbolic_intermediates_are_refused() -> None:
    with pytest.raises(CodegenError, match="'b' has the symbolic size"):
        lowered("8", "m", "serial")
