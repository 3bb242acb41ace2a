"""add_rfactor: reductions that cannot fill cores or vectors from their spatial loops alone.

A reduction is split so that partial results run over jobs, over vector lanes, or over both, and
are combined afterwards (rfactor of Suriana et al., "Parallel Associative Reductions in Halide",
CGO 2017). Compilers do not vectorise float reductions by themselves, so lanes pay on every row sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.expr import int_value
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import (
    domain_size,
    has_reuse,
    is_reduction,
    is_root,
    iter_loops,
    iters_of,
    single_store,
)
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref


@final
@dataclass(frozen=True, slots=True)
class AddRFactor(AbstractRule):
    """Offer partial reductions beside the plain one.

    Attributes:
        max_jobs_per_core: fewer spatial iterations than this per core call for parallel partial
            results.
        max_innermost_factor: most vector lanes of partial results.
        least_lanes: shortest reduction that is spread over lanes.
        variants: what to offer, of "plain", "lanes", "jobs" (which "both" with one lane is, too),
            "both" and, for blocks that are tiled afterwards, "tiled".
        fixed: take as many lanes as divide the reduction instead of sampling them.
    """

    name: ClassVar[str] = "add_rfactor"
    max_jobs_per_core: int = 16
    max_innermost_factor: int = 64
    least_lanes: int = 16
    variants: tuple[str, ...] = ("plain", "lanes", "both", "tiled")
    fixed: bool = False

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Tileable blocks with enough spatial work, and what rfactor cannot take, stay."""
        if is_root(state, block):
            return "the root block"
        if not is_reduction(block) or single_store(block) is None:
            return "no reduction into one buffer"
        loops = iter_loops(state, block)
        if loops is None or any(int_value(loop.extent) is None for loop in loops):
            return "its variables are not bound to constant loops of their own"
        space, reduced = domain_size(block, "spatial"), domain_size(block, "reduce")
        if space is None or reduced is None or reduced <= 1:
            return "reduces nothing"
        if has_reuse(block) and (space >= reduced or space > self._jobs(target)):
            return "tiled, with enough spatial work"
        if not self._variants(block, target):
            return "too short to spread"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """The plain schedule, then one for each way to spread the reduction."""
        variants = self._variants(schedule.state.block(str(schedule.value(block))), target)
        plain = [schedule.copy()] if "plain" in self.variants else []
        return [*plain, *(self._spread(schedule.copy(), block, v, target) for v in variants)]

    def _jobs(self, target: Target) -> int:
        return self.max_jobs_per_core * target.cores

    def _variants(self, block: Block, target: Target) -> tuple[str, ...]:
        space, reduced = domain_size(block, "spatial") or 1, domain_size(block, "reduce") or 1
        few = space <= self._jobs(target) and target.cores > 1 and reduced > target.cores
        if has_reuse(block):
            possible = {"tiled"} if few else set[str]()
        else:
            possible = {"lanes"} if reduced >= self.least_lanes else set[str]()
            if few and reduced >= self.least_lanes * target.cores:
                possible |= {"jobs", "both"}
        return tuple(v for v in self.variants if v in possible)

    def _spread(self, schedule: Schedule, block: Ref, variant: str, target: Target) -> Schedule:
        found = schedule.state.block(str(schedule.value(block)))
        outer = len(found.writes[0].buffer.shape)
        fused = _fuse_reduction(schedule, block)
        if variant == "tiled":
            # Tiling samples the new loops, so their extents must be plain numbers.
            reduced = domain_size(found, "reduce") or 1
            jobs = _divisors_between(reduced, target.cores, self._jobs(target))
            factor = schedule.sample_categorical(list(jobs), [1.0 / len(jobs)] * len(jobs))
            schedule.rfactor(schedule.split(fused, (factor, None))[0], outer)
            return schedule
        parts = 3 if variant == "both" else 2
        if self.fixed:
            reduced = domain_size(found, "reduce") or 1
            lanes = _divisors_between(reduced, 1, self.max_innermost_factor)[-1]
            loops = schedule.split(fused, (None, lanes))
        else:
            factors = schedule.sample_perfect_tile(fused, parts, self.max_innermost_factor)
            loops = schedule.split(fused, factors)
        if variant == "jobs":
            schedule.rfactor(loops[0], outer)
            return schedule
        partial = schedule.rfactor(loops[-1], outer)
        if variant == "both":
            parallel = len(iters_of(found, "spatial"))
            schedule.rfactor(schedule.get_loops(partial)[parallel], outer)
        return schedule


def _fuse_reduction(schedule: Schedule, block: Ref) -> Ref:
    """One loop for all of a block's reduction, inside its spatial loops."""
    found = schedule.state.block(str(schedule.value(block)))
    reduced = {it.binding for it in iters_of(found, "reduce")}
    loops = schedule.get_loops(block)
    inner = [ref for ref in loops if schedule.state.loop(str(schedule.value(ref))).var in reduced]
    order = [*(ref for ref in loops if ref not in inner), *inner]
    if tuple(order) != tuple(loops):
        schedule.reorder(*order)
    return inner[0] if len(inner) == 1 else schedule.fuse(*inner)


def _divisors_between(extent: int, least: int, most: int) -> tuple[int, ...]:
    """Up to three divisors of an extent within bounds, the whole extent if there is none."""
    found = [d for d in range(least, most + 1) if extent % d == 0]
    return tuple(sorted({found[0], found[len(found) // 2], found[-1]})) if found else (extent,)


RULES.register(AddRFactor.name, AddRFactor)
