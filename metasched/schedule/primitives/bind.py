"""bind: the iterations of a loop on a thread axis of a GPU."""

from __future__ import annotations

from dataclasses import replace

from metasched.errors import suggest
from metasched.ir.stmt import For
from metasched.ir.threads import THREAD_AXES
from metasched.schedule.primitives.loop_nest import (
    why_not_affine,
    why_not_independent,
    why_not_serial,
)
from metasched.schedule.primitives.placement import check_threads
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def bind(state: State, loop: str, thread_axis: str) -> tuple[State, tuple[str, ...]]:
    """Bind a loop to a thread axis of a GPU.

    The outermost bound loop with all in it is a kernel. Programs for CPUs cannot be lowered with
    bound loops. ``vthread`` axes are virtual: their iterations belong to one thread.

    Args:
        state: where to apply.
        loop: the loop.
        thread_axis: ``blockIdx``, ``threadIdx`` or ``vthread`` with ``.x``, ``.y`` or ``.z``, or
            ``vthread`` alone.

    Requires:
        - a thread axis
        - a serial loop
        - affine bindings of the loop (in every block inside)
        - a loop for spatial iterations only (on ``threadIdx``, or for the reduce iterations of a
          reduction)
        - an extent that is known when the kernel starts
        - one extent of all loops on an axis in a kernel
        - no loop inside another of the same axis, but to share out what threads repeat (on
          ``threadIdx``, over blocks that do not use the outer loop and write no ``local`` buffer)

    ::

        for i in serial(64):         ->  for i in thread(64, axis="blockIdx.x"):
            for j in serial(32):             for j in thread(32, axis="threadIdx.x"):
    """
    target = state.loop(loop, "bind")
    _check(state, target, thread_axis)
    changed = replace(target, kind="thread", thread=thread_axis)
    new = state.replace(target, changed)
    check_threads(state, new, "bind")
    return new, ()


def _check(state: State, target: For, thread_axis: str) -> None:
    name = target.var.name
    if thread_axis not in THREAD_AXES:
        given = f"'{thread_axis}'{suggest(thread_axis, THREAD_AXES)}"
        raise refused(state, "bind", "a thread axis", given, at=name)
    if given := why_not_serial(target):
        hint = "a loop has one kind; split it to have another kind inside"
        raise refused(state, "bind", "a serial loop", given, at=name, hint=hint)
    if given := why_not_affine(state, target):
        raise refused(state, "bind", "affine bindings of the loop", given, at=name)
    across = thread_axis.startswith("threadIdx")
    if given := why_not_independent(state, target, across=across):
        rule = "a loop for spatial iterations only"
        if across:
            rule += ", or for the reduce iterations of a reduction"
        raise refused(
            state, "bind", rule, given, at=name,
            hint="use rfactor to reduce in parallel, and bind before decompose_reduction",
        )  # fmt: skip


PRIMITIVES.register("bind", Primitive("bind", bind))
