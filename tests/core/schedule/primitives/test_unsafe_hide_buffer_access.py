from __future__ import annotations

from pathlib import Path

import pytest

from metasched import ops
from metasched.errors import VerifyError
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import check_valid, refuses
from tests.core.schedule.programs import body, matmul, two_stages


def lookup(n: int = 7) -> Program:
    """Rows looked up through a table of indices that a block computes."""
    return parse(
        f"""@program
def lookup(a: Buffer((5,), "float32"), k: Buffer(({n},), "int32"), c: Buffer(({n},), "float32")):
    at = alloc(({n},), "int32")
    for i in serial({n}):
        with block("at"):
            v_i = spatial({n}, i)
            reads(k[v_i])
            writes(at[v_i])
            at[v_i] = (k[v_i] + int32(4)) % int32(5)
    for j in serial({n}):
        with block("c"):
            v_j = spatial({n}, j)
            reads(at[v_j], a[at[v_j]])
            writes(c[v_j])
            c[v_j] = a[at[v_j]] * float32(2.0)
"""
    )


def test_a_table_of_indices() -> None:
    sch = Schedule(lookup())
    sch.unsafe_hide_buffer_access(sch.get_block("c"), "read", [0])
    assert body(sch).endswith(
        '    with block("c"):\n'
        "        v_j = spatial(7, j)\n"
        "        reads(a[at[v_j]])\n"
        "        writes(c[v_j])\n"
        '        annotations({"hidden": ("read",)})\n'
        "        c[v_j] = a[at[v_j]] * float32(2.0)\n"
    )
    check_valid(sch)


@pytest.mark.cc
@pytest.mark.parametrize("n", [1, 7, 32])
def test_the_block_computes_what_it_did(n: int, tmp_path: Path) -> None:
    sch = Schedule(lookup(n))
    block = sch.get_block("c")
    sch.unsafe_hide_buffer_access(block, "read", [0, 1])
    sch.unsafe_hide_buffer_access(block, "write", [0])
    assert 'annotations({"hidden": ("read", "write")})' in body(sch)
    assert "reads(a[" not in body(sch)
    sch.split(sch.get_loops(block)[0], [None, 4])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_what_a_reduction_writes() -> None:
    sch = Schedule(matmul(3, 1, 5))
    sch.unsafe_hide_buffer_access(sch.get_block("c"), "write", [0])
    assert "writes(" not in body(sch)
    check_valid(sch)


def test_nothing_hidden_changes_nothing() -> None:
    sch = Schedule(two_stages())
    before = sch.program
    sch.unsafe_hide_buffer_access(sch.get_block("c"), "read", [])
    assert sch.program is before
    check_valid(sch)


def test_a_block_around_does_not_name_what_is_hidden_inside() -> None:
    sch = Schedule(ops.dense(m=3, n=4, k=5, bias=True))
    block = sch.get_child_blocks(sch.get_block("root"))[0]
    sch.fuse_reduction_epilogue(block, sch.get_consumers(block)[0])
    sch.unsafe_hide_buffer_access(block, "read", [0, 1, 2])
    sch.blockize(sch.get_loops(block)[0])
    check_valid(sch)


def test_other_primitives_see_no_dependence() -> None:
    sch = Schedule(two_stages())
    c = sch.get_block("c")
    sch.unsafe_hide_buffer_access(c, "read", [0])
    assert sch.get_producers(c) == ()


def test_the_verifier_wants_the_annotation() -> None:
    sch = Schedule(lookup())
    sch.unsafe_hide_buffer_access(sch.get_block("c"), "read", [0])
    text = str(sch.program).replace('annotations({"hidden": ("read",)})', "")
    with pytest.raises(VerifyError, match="block 'c', which has no region of it"):
        verify(parse(text))


def test_requires_a_buf_type_that_is_read_or_write() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "expected a buf_type that is 'read' or 'write', got 'both'"):
        sch.unsafe_hide_buffer_access(sch.get_block("c"), "both", [0])


@pytest.mark.parametrize("index", [-1, 1])
def test_requires_indices_of_buffers_that_the_block_reads(index: int) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"indices of buffers that the block reads, got {index} of 1"):
        sch.unsafe_hide_buffer_access(sch.get_block("c"), "read", [0, index])


def test_writes_are_counted_apart() -> None:
    sch = Schedule(lookup())
    with refuses(sch, "indices of buffers that the block writes, got 1 of 1"):
        sch.unsafe_hide_buffer_access(sch.get_block("c"), "write", [1])
