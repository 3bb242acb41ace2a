from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.generate import drafts
from metasched.space.loop_choice import chain, nests
from metasched.space.postprocs import RewriteUnboundBlock, postprocess
from metasched.space.rules import AbstractRule, AutoBind, CrossThreadReduction
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent

GPU = Target("cuda:sm_90")


def bound(program: Program, *rules: AbstractRule) -> list[list[tuple[str, str]]]:
    """Extent and kind of the loops of each nest."""
    result = postprocess(drafts(program, rules, GPU)[0], (RewriteUnboundBlock(),), GPU)
    assert isinstance(result, Schedule), result
    check_equivalent(program, result.program)
    return [
        [(str(loop.extent), loop.thread or loop.kind) for loop in chain(nest)]
        for nest in nests(result.state)
    ]


def test_elements_side_by_side_go_to_one_thread() -> None:
    assert bound(ops.relu(m=32, n=64)) == [
        [("16", "blockIdx.x"), ("32", "threadIdx.x"), ("4", "vectorized")]
    ]


def test_noted_threads_are_taken() -> None:
    (loops,) = bound(ops.transpose(m=32, n=64), AutoBind(thread_extents=(64,), vectors=(1,)))
    assert loops == [("32", "blockIdx.x"), ("64", "threadIdx.x")]


def test_threads_share_the_terms_of_a_noted_sum() -> None:
    across = CrossThreadReduction(variants=("across",))
    threads = AutoBind(thread_extents=(32,), vectors=(1,))
    (first, *_) = bound(ops.norm(b=3, m=16, n=10), across, threads)
    assert first == [("3", "blockIdx.x"), ("5", "serial"), ("32", "threadIdx.x")]


@pytest.mark.parametrize("shape", [(1, 1), (7, 13)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    assert len(bound(ops.transpose(m=shape[0], n=shape[1]))) == 1
