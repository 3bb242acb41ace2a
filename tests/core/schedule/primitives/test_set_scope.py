from __future__ import annotations

from pathlib import Path

import pytest

from metasched.errors import CodegenError, VerifyError
from metasched.ir.parser import parse
from metasched.ir.verify import verify
from metasched.lower import lower
from metasched.schedule.schedule import Schedule
from tests.core.lower.programs import Machine
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import chain, check_valid, refuses, twice_written
from tests.core.schedule.programs import body, copy, two_stages


def test_the_buffer_moves_and_is_renamed() -> None:
    sch = Schedule(two_stages(1, 3))
    sch.set_scope(sch.get_block("b"), 0, "shared")
    assert body(sch) == (
        'b_shared = alloc((1, 3), "float32", scope="shared")\n'
        "for i in serial(1):\n"
        "    for j in serial(3):\n"
        '        with block("b"):\n'
        "            v_i = spatial(1, i)\n"
        "            v_j = spatial(3, j)\n"
        "            reads(a[v_i, v_j])\n"
        "            writes(b_shared[v_i, v_j])\n"
        "            b_shared[v_i, v_j] = a[v_i, v_j] + float32(1.0)\n"
        "for c_i in serial(1):\n"
        "    for c_j in serial(3):\n"
        '        with block("c"):\n'
        "            v_c_i = spatial(1, c_i)\n"
        "            v_c_j = spatial(3, c_j)\n"
        "            reads(b_shared[v_c_i, v_c_j])\n"
        "            writes(c[v_c_i, v_c_j])\n"
        "            c[v_c_i, v_c_j] = b_shared[v_c_i, v_c_j] * float32(2.0)\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("scope", ["local", "shared", "shared.dyn"])
@pytest.mark.cc
def test_plain_memory_of_a_cpu(scope: str, tmp_path: Path) -> None:
    sch = Schedule(chain(13))
    sch.set_scope(sch.get_block("b"), 0, scope)
    assert f'scope="{scope}"' in body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_all_that_touches_the_buffer_follows() -> None:
    sch = Schedule(twice_written())
    sch.set_scope(sch.get_block("high"), 0, "local")
    assert body(sch).count("b_local[") == 6
    check_valid(sch)


def test_there_and_back() -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("b")
    sch.set_scope(block, 0, "warp")
    sch.set_scope(block, 0, "global")
    assert 'b_warp_global = alloc((6, 8), "float32")' in body(sch)
    check_valid(sch)


def test_the_scope_that_it_has_changes_nothing() -> None:
    sch = Schedule(two_stages())
    before = sch.program
    sch.set_scope(sch.get_block("b"), 0, "global")
    assert sch.program is before
    check_valid(sch)


def test_memory_that_no_cpu_has_is_refused_when_lowered() -> None:
    sch = Schedule(two_stages())
    sch.set_scope(sch.get_block("b"), 0, "wmma.accumulator")
    check_valid(sch)
    message = (
        "buffer 'b_wmma_accumulator' lives in 'wmma.accumulator' memory, which a CPU does not "
        "have; set_scope to one of global, local, shared, shared.dyn"
    )
    with pytest.raises(CodegenError, match=message):
        lower(sch.program, Machine())


def test_the_verifier_knows_the_scopes() -> None:
    old = 'alloc((6, 8), "float32")'
    text = str(two_stages()).replace(old, f'{old[:-1]}, scope="L2")')
    with pytest.raises(VerifyError, match="buffer 'b' lives in unknown memory 'L2'"):
        verify(parse(text))


@pytest.mark.parametrize("scope", ["L1", "register", ""])
def test_requires_a_known_storage_scope(scope: str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"set_scope: expected a known storage scope, got '{scope}', none of global"):
        sch.set_scope(sch.get_block("b"), 0, scope)


def test_the_buffer_by_its_name() -> None:
    named, numbered = Schedule(two_stages()), Schedule(two_stages())
    named.set_scope("b", "b", "shared")
    numbered.set_scope("b", 0, "shared")
    assert named.program == numbered.program
    check_valid(named)


@pytest.mark.parametrize("index", [-1, 1, "a"])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes(index: int | str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"an index or the name of a buffer that the block writes, got {index!r} of "):
        sch.set_scope(sch.get_block("b"), index, "local")


def test_requires_an_intermediate_buffer() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected an intermediate buffer, got the parameter 'b'"):
        sch.set_scope(sch.get_block("b"), 0, "local")
