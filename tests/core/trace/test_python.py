from __future__ import annotations

from metasched.schedule.schedule import Schedule
from metasched.trace.trace import Trace
from tests.core.schedule.programs import matmul


def test_text_is_as_a_person_would_write() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    i, j, _ = sch.get_loops(block)
    tiles = sch.sample_perfect_tile(i, 2, decision=[4, 2])
    sch.unroll(sch.split(i, tiles)[1])
    sch.fuse(j)
    sch.get_child_blocks(j)
    sch.annotate(block, "note", 'say "a"')
    assert sch.trace.as_python() == (
        "def apply(sch):\n"
        '    b0 = sch.get_block("c")\n'
        "    l1, l2, l3 = sch.get_loops(b0)\n"
        "    v4, v5 = sch.sample_perfect_tile(l1, 2, max_innermost_factor=16, decision=[4, 2])\n"
        "    l6, l7 = sch.split(l1, [v4, v5], disable_predication=False, "
        "preserve_unit_iters=True)\n"
        "    sch.unroll(l7)\n"
        "    l8 = sch.fuse(l2, preserve_unit_iters=True)\n"
        "    b9, = sch.get_child_blocks(l2)\n"
        '    sch.annotate(b0, "note", \'say "a"\')'
    )


def test_an_empty_trace_is_a_function_too() -> None:
    names: dict[str, object] = {}
    exec(Trace().as_python(), names)
    assert callable(names["apply"])
