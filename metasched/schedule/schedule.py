"""`Schedule`: the one mutable object; it resolves handles, applies primitives and records a trace.

Methods are thin typed forwarders (jump to definition works); what a primitive does and requires is
in `schedule/primitives/`. Copying a schedule is cheap, since states and instructions are shared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from metasched.errors import ScheduleError, TraceError, UsageError
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.ir.stmt import AnnotationValue, Block, For, Program
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractChoices, AbstractSite, Draw
from metasched.schedule.state import State
from metasched.trace.instruction import Decision, Input, Instruction, Ref, RefKind, map_refs
from metasched.trace.trace import Trace

_PREFIX = {"block": "b", "loop": "l", "expr": "v"}


class Schedule:
    """A program under transformation, with the trace that leads to it.

    Args:
        program: the program to schedule; it is not changed.
        seed: seed of the generator behind the sampling primitives.
        choices: where decisions come from instead; see `metasched.schedule.samplers.site`.

    Attributes:
        original: the program as it was given.
        state: the program as it stands, with what primitives know about it.
        choices: where decisions come from.
        sites: the distribution at each sampling instruction so far, by index.
    """

    def __init__(
        self, program: Program, *, seed: int = 0, choices: AbstractChoices | None = None
    ) -> None:
        self.original = program
        self.state = State(program)
        self.choices = choices or Draw(np.random.default_rng(seed))
        self._instructions: tuple[Instruction, ...] = ()
        self._decisions: dict[int, Decision] = {}
        self.sites: dict[int, AbstractSite] = {}
        self._values: dict[Ref, Expr | str] = {}

    @property
    def program(self) -> Program:
        """The program as it stands."""
        return self.state.program

    @property
    def trace(self) -> Trace:
        """The steps so far and the decisions taken."""
        return Trace(self._instructions, dict(self._decisions))

    def copy(self) -> Schedule:
        """An independent schedule at the same point (not traced), with random draws of its own."""
        other = Schedule.__new__(Schedule)
        other.original, other.state = self.original, self.state
        other.choices = self.choices.fork() if isinstance(self.choices, Draw) else self.choices
        other._instructions = self._instructions
        other._decisions, other.sites = dict(self._decisions), dict(self.sites)
        other._values = dict(self._values)
        return other

    def seed(self, seed: int) -> None:
        """Draw further decisions from a new generator with this seed (not traced)."""
        self.choices = Draw(np.random.default_rng(seed))

    # -- machinery -----------------------------------------------------------------------------

    def resolve(self, step: Instruction) -> list[Any]:
        """The inputs of an instruction with names and expressions in place of handles."""
        return [map_refs(i, self.value) for i in step.inputs]

    def offer(self, step: Instruction) -> AbstractSite:
        """What a sampling instruction would choose from at this point (not traced).

        Raises:
            ScheduleError: a precondition does not hold.
        """
        return SAMPLERS[step.kind].site(self.state, *self.resolve(step), **dict(step.attrs))

    def run(self, step: Instruction, decision: Decision | None = None) -> tuple[Ref, ...]:
        """Apply one instruction (of a trace, or made by a method) and record it.

        Args:
            step: its outputs name the new handles; when empty they are named here.
            decision: for a sampling instruction, the decision to take instead of asking `choices`.

        Raises:
            ScheduleError: a precondition does not hold; the schedule is as it was.
            TraceError: the instruction names another number of outputs than it has.
        """
        index = len(self._instructions)
        inputs, attrs = self.resolve(step), dict(step.attrs)
        sampler = SAMPLERS[step.kind] if step.kind in SAMPLERS else None
        if sampler is not None:
            site = sampler.site(self.state, *inputs, **attrs)
            decision = self._decide(step, site, decision)
            symbol = partial(_symbol, index)
            state, values = sampler.outputs(self.state, decision, symbol, *inputs, **attrs)
            output = sampler.output
        else:
            primitive = PRIMITIVES[step.kind]
            state, values = primitive.apply(self.state, *inputs, **attrs)
            output, site = primitive.output, None
        outputs = self._outputs(step, output, len(values))
        self.state = state
        self._values.update(zip(outputs, values, strict=True))
        self._instructions = (*self._instructions, replace(step, outputs=outputs))
        if site is not None:
            self.sites[index] = site
        if decision is not None:
            self._decisions[index] = decision
        return outputs

    def _decide(
        self, step: Instruction, site: AbstractSite, decision: Decision | None
    ) -> Decision | None:
        if decision is None:
            return self.choices.choose(len(self._instructions), site)
        if not site.contains(decision):
            raise ScheduleError(f"{step.kind}: expected a decision of {site}, got {decision}")
        return decision

    def _outputs(self, step: Instruction, kind: RefKind | None, count: int) -> tuple[Ref, ...]:
        if step.outputs:
            if len(step.outputs) != count:
                raise TraceError(
                    f"{step.kind}: expected {len(step.outputs)} outputs as in the trace, got "
                    f"{count}; the trace belongs to another program"
                )
            return step.outputs
        refs: list[Ref] = []
        number = len(self._values)
        while kind is not None and len(refs) < count:
            ref = Ref(kind, f"{_PREFIX[kind]}{number}")
            number += 1
            if ref not in self._values:
                refs.append(ref)
        return tuple(refs)

    def value(self, ref: Ref) -> Expr | str:
        """What a handle stands for: the name of a loop or block, or an integer expression."""
        try:
            return self._values[ref]
        except KeyError:
            raise ScheduleError(
                f"handle {ref} belongs to another schedule; get it from this schedule's methods"
            ) from None

    def _do(
        self, kind: str, *inputs: Any, decision: Decision | None = None, **attrs: AnnotationValue
    ) -> tuple[Ref, ...]:
        step = Instruction(kind, tuple(_input(i) for i in inputs), tuple(sorted(attrs.items())), ())
        return self.run(step, decision)

    # -- looking at the program (not traced) ---------------------------------------------------

    def get(self, ref: Ref) -> Block | For | Expr:
        """The block, loop or integer a handle stands for (not traced)."""
        value = self.value(ref)
        if ref.kind == "block":
            return self.state.block(str(value), "get")
        return self.state.loop(str(value), "get") if ref.kind == "loop" else _expr(value)

    def int_of(self, ref: Ref) -> int | None:
        """The integer of an expression handle; None while it is symbolic."""
        return int_value(_expr(self.value(ref)))

    def show(self) -> None:
        """Print the program, in colours on a terminal (not traced)."""
        if not sys.stdout.isatty():
            print(self.program)
            return
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(str(self.program), "python", background_color="default"))

    # -- sampling ------------------------------------------------------------------------------

    def sample_categorical(
        self, candidates: Sequence[int], probs: Sequence[float], decision: int | None = None
    ) -> Ref:
        """One of some integers; a decision is its index."""
        given = tuple(candidates), tuple(probs)
        return self._do("sample_categorical", *given, decision=decision)[0]

    def sample_perfect_tile(
        self,
        loop: Ref,
        n: int,
        max_innermost_factor: int = 16,
        decision: Sequence[int] | None = None,
    ) -> tuple[Ref, ...]:
        """Factors of a loop's extent, the last at most ``max_innermost_factor``."""
        return self._do(
            "sample_perfect_tile", loop, n, max_innermost_factor=max_innermost_factor,
            decision=_tuple(decision),
        )  # fmt: skip

    def sample_partitioned_tile(
        self,
        loop: Ref,
        n: int,
        partition_pos: int = 0,
        innerpart_factor: int = 1,
        decision: Sequence[int] | None = None,
    ) -> tuple[Ref, ...]:
        """Factors of a loop's extent; those from ``partition_pos`` on multiply to a multiple."""
        return self._do(
            "sample_partitioned_tile", loop, n, partition_pos=partition_pos,
            innerpart_factor=innerpart_factor, decision=_tuple(decision),
        )  # fmt: skip

    def sample_compute_location(self, block: Ref, decision: int | None = None) -> Ref:
        """Where a block may be computed: a loop, or that it is inlined (-2) or stays (-1)."""
        return self._do("sample_compute_location", block, decision=decision)[0]

    # -- lookup --------------------------------------------------------------------------------

    def get_block(self, name: str) -> Ref:
        """The block of a name."""
        return self._do("get_block", name)[0]

    def get_loops(self, block: Ref) -> tuple[Ref, ...]:
        """The loops around a block inside its parent block, outermost first."""
        return self._do("get_loops", block)

    def get_child_blocks(self, block_or_loop: Ref) -> tuple[Ref, ...]:
        """The blocks directly in a block or loop, in execution order."""
        return self._do("get_child_blocks", block_or_loop)

    def get_producers(self, block: Ref) -> tuple[Ref, ...]:
        """The blocks before a block that write what it reads, in execution order."""
        return self._do("get_producers", block)

    def get_consumers(self, block: Ref) -> tuple[Ref, ...]:
        """The blocks behind a block that read what it writes, in execution order."""
        return self._do("get_consumers", block)

    def get_output_blocks(self, scope_block: Ref) -> tuple[Ref, ...]:
        """The blocks in a block that write what outlives it, in execution order."""
        return self._do("get_output_blocks", scope_block)

    # -- loops ---------------------------------------------------------------------------------

    def split(
        self,
        loop: Ref,
        factors: Sequence[Ref | int | None],
        preserve_unit_iters: bool = True,
        disable_predication: bool = False,
    ) -> tuple[Ref, ...]:
        """Split a loop into nested loops with the given extents, outermost first."""
        return self._do(
            "split", loop, tuple(factors), preserve_unit_iters=preserve_unit_iters,
            disable_predication=disable_predication,
        )  # fmt: skip

    def fuse(self, *loops: Ref, preserve_unit_iters: bool = True) -> Ref:
        """Fuse perfectly nested loops, given outermost first, into one."""
        return self._do("fuse", *loops, preserve_unit_iters=preserve_unit_iters)[0]

    def reorder(self, *ordered_loops: Ref) -> None:
        """Put loops of one chain into the given order, outermost first."""
        self._do("reorder", *ordered_loops)

    def add_unit_loop(self, block_or_loop: Ref) -> Ref:
        """Put a loop of extent 1 around a block or loop."""
        return self._do("add_unit_loop", block_or_loop)[0]

    def parallel(self, loop: Ref) -> None:
        """Run the iterations of a loop in parallel."""
        self._do("parallel", loop)

    def vectorize(self, loop: Ref) -> None:
        """Run the iterations of a loop in the lanes of vectors."""
        self._do("vectorize", loop)

    def unroll(self, loop: Ref) -> None:
        """Write the iterations of a loop out one after the other."""
        self._do("unroll", loop)

    # -- notes ---------------------------------------------------------------------------------

    def annotate(self, block_or_loop: Ref, ann_key: str, ann_val: AnnotationValue | Ref) -> None:
        """Note a key and a value on a block or loop."""
        self._do("annotate", block_or_loop, ann_key, ann_val)

    def unannotate(self, block_or_loop: Ref, ann_key: str) -> None:
        """Remove the annotation of a key from a block or loop."""
        self._do("unannotate", block_or_loop, ann_key)

    def enter_postproc(self) -> None:
        """Mark that the steps from here on are postprocessing; the program stays as it is."""
        self._do("enter_postproc")

    # -- data movement -------------------------------------------------------------------------

    def cache_read(self, block: Ref, read_buffer_index: int | str, storage_scope: str) -> Ref:
        """Fill a cache with what is read of a buffer, and let all its readers read the cache."""
        return self._do("cache_read", block, read_buffer_index, storage_scope)[0]

    def cache_write(self, block: Ref, write_buffer_index: int | str, storage_scope: str) -> Ref:
        """Let a block write a cache, and copy the cache to the buffer behind the block's nest."""
        return self._do("cache_write", block, write_buffer_index, storage_scope)[0]

    def reindex(self, block: Ref, buffer: str | Sequence[str | int]) -> Ref:
        """Give a block a cache of a buffer that is indexed by the block's own iterations."""
        given = buffer if isinstance(buffer, str) else tuple(buffer)
        return self._do("reindex", block, given)[0]

    def reindex_cache_read(
        self, block: Ref, read_buffer_index: int | str, storage_scope: str, index_map: Sequence[int]
    ) -> Ref:
        """Fill a cache with what a block reads of a buffer, indexed by its own iterations."""
        return self._do(
            "reindex_cache_read", block, read_buffer_index, storage_scope, tuple(index_map)
        )[0]  # fmt: skip

    def compute_at(
        self, block: Ref, loop: Ref, preserve_unit_loops: bool = False, index: int = -1
    ) -> None:
        """Compute a producer under a loop of its consumers, as much as one iteration needs."""
        self._do("compute_at", block, loop, preserve_unit_loops=preserve_unit_loops, index=index)

    def reverse_compute_at(
        self, block: Ref, loop: Ref, preserve_unit_loops: bool = False, index: int = -1
    ) -> None:
        """Compute a consumer under a loop of its producers, as much as one iteration has made."""
        self._do(
            "reverse_compute_at", block, loop, preserve_unit_loops=preserve_unit_loops, index=index
        )  # fmt: skip

    def compute_inline(self, block: Ref) -> None:
        """Put a producer's formula in place of every read of its result, and drop the producer."""
        self._do("compute_inline", block)

    def reverse_compute_inline(self, block: Ref) -> None:
        """Apply a consumer's formula where its producer stores, and drop the consumer."""
        self._do("reverse_compute_inline", block)

    def decompose_reduction(self, block: Ref, loop: Ref) -> Ref:
        """Make the init of a reduction a block of its own in front of a loop."""
        return self._do("decompose_reduction", block, loop)[0]

    def rfactor(self, loop: Ref, factor_axis: int) -> Ref:
        """Reduce each iteration of a reduce loop on its own, then reduce the partial results."""
        return self._do("rfactor", loop, factor_axis)[0]

    # -- memory --------------------------------------------------------------------------------

    def storage_align(
        self, block: Ref, buffer_index: int, axis: int, factor: int, offset: int
    ) -> None:
        """Pad the stride of an axis to ``k * factor + offset`` elements for some ``k``."""
        self._do("storage_align", block, buffer_index, axis, factor, offset)

    def set_scope(self, block: Ref, buffer_index: int, storage_scope: str) -> None:
        """Let an intermediate buffer live in another memory; its name says so."""
        self._do("set_scope", block, buffer_index, storage_scope)


def _symbol(index: int, k: int) -> Var:
    """The variable of factor ``k`` of the sampling instruction ``index``."""
    return Var(f"t{index}_{k}")


def _tuple(decision: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if decision is None else tuple(decision)


def _input(value: Any) -> Input:
    if value is None or isinstance(value, Ref | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(_input(v) for v in cast(Sequence[Any], value))
    if hasattr(value, "__index__"):
        return int(value.__index__())
    raise UsageError(f"expected a handle, a number or a text, got {value!r}")


def _expr(value: Expr | str) -> Expr:
    return value if isinstance(value, Expr) else const(int(value))
