from __future__ import annotations

from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import check_valid, in_place, refuses, scores
from tests.core.schedule.programs import body, matmul


def updated(n: int = 7) -> Program:
    """A block doubles the elements of an intermediate from the second on, where they are."""
    return parse(
        f"""@program
def updated(a: Buffer(({n},), "float32"), c: Buffer(({n},), "float32")):
    b = alloc(({n},), "float32")
    for i in serial({n}):
        with block("b"):
            v_i = spatial({n}, i)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i]
    for j in serial({n} - 1):
        with block("twice"):
            v_j = spatial({n} - 1, j)
            reads(b[v_j + 1])
            writes(b[v_j + 1])
            b[v_j + 1] = b[v_j + 1] * float32(2.0)
    for k in serial({n}):
        with block("c"):
            v_k = spatial({n}, k)
            reads(b[v_k])
            writes(c[v_k])
            c[v_k] = b[v_k] + float32(1.0)
""".replace(f"{n} - 1", f"{n - 1}")
    )


def test_a_cache_around_an_update() -> None:
    sch = Schedule(in_place(8))
    filled, copied = sch.cache_inplace(sch.get_block("c"), 0, "local")
    assert (sch.value(filled), sch.value(copied)) == ("c_local", "c_local_back")
    assert body(sch) == (
        'c_local = alloc((8,), "float32", scope="local")\n'
        "for ax0 in serial(8):\n"
        '    with block("c_local"):\n'
        "        v_ax0 = spatial(8, ax0)\n"
        "        reads(c[v_ax0])\n"
        "        writes(c_local[v_ax0])\n"
        "        c_local[v_ax0] = c[v_ax0]\n"
        "for i in serial(8):\n"
        '    with block("c"):\n'
        "        v_i = spatial(8, i)\n"
        "        reads(c_local[v_i], a[v_i])\n"
        "        writes(c_local[v_i])\n"
        "        c_local[v_i] = c_local[v_i] + a[v_i]\n"
        "for ax0_1 in serial(8):\n"
        '    with block("c_local_back"):\n'
        "        v_ax0_1 = spatial(8, ax0_1)\n"
        "        reads(c_local[v_ax0_1])\n"
        "        writes(c[v_ax0_1])\n"
        "        c[v_ax0_1] = c_local[v_ax0_1]\n"
    )
    check_valid(sch)


def test_only_the_part_that_is_updated() -> None:
    sch = Schedule(updated(7))
    sch.cache_inplace(sch.get_block("twice"), "b", "global")
    assert "b_global[v_ax0 + 1] = b[v_ax0 + 1]" in body(sch)
    assert "b[v_ax0_1 + 1] = b_global[v_ax0_1 + 1]" in body(sch)
    check_valid(sch)


def test_one_element() -> None:
    sch = Schedule(updated(2))
    sch.cache_inplace(sch.get_block("twice"), 0, "local")
    check_valid(sch)


def test_the_update_of_a_reduction() -> None:
    sch = Schedule(matmul(3, 5, 7))
    block = sch.get_block("c")
    sch.decompose_reduction(block, sch.get_loops(block)[0])
    sch.cache_inplace(block, "c", "local")
    assert "c_local[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]" in body(sch)
    check_valid(sch)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "expected a known storage scope, got 'L1'"):
        sch.cache_inplace(sch.get_block("c"), 0, "L1")


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "an index or the name of a buffer that the block reads, got 2 of 2"):
        sch.cache_inplace(sch.get_block("c"), 2, "local")


def test_requires_a_buffer_that_the_block_writes_too() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "a buffer that the block writes, too, got 'a', which it only reads"):
        sch.cache_inplace(sch.get_block("c"), "a", "local")


def test_requires_a_nest_in_which_no_other_block_uses_the_buffer() -> None:
    sch = Schedule(scores())
    c = sch.get_block("c")
    sch.reverse_compute_at(sch.get_block("d"), sch.get_loops(c)[1])
    init = sch.decompose_reduction(c, sch.get_loops(c)[2])
    assert sch.value(init) == "c_init"
    with refuses(sch, "a nest in which no other block uses the buffer, got 'c_init' in it"):
        sch.cache_inplace(c, "c", "local")
