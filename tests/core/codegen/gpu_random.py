"""Random programs under random GPU schedules, as a careless expert would write them.

Every loop nest ends bound to blocks and threads; what is drawn on the way (tiles, virtual threads,
caches, cooperative copies, shared reductions, pipelines) may be refused by a primitive, which then
leaves the schedule as it was.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from metasched.errors import ScheduleError
from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, For, Program, Seq, Stmt
from metasched.ir.walk import blocks, free_vars, walk
from metasched.schedule.schedule import Schedule
from metasched.testing import suite
from metasched.trace.instruction import Ref
from tests.core.schedule.random_programs import random_program

FACTORS = (1, 2, 3, 4, 5, 7, 8)
MOST_THREADS = 64


def random_gpu_program(rng: random.Random) -> Program:
    """A small operator of the suite, or a random program."""
    if rng.random() < 0.4:
        return suite.small(rng.choice(list(suite.SUITE)))
    return random_program(rng)


class Drawing:
    """A schedule and the draws that make it."""

    def __init__(self, program: Program, rng: random.Random) -> None:
        self.sch = Schedule(program, seed=rng.randint(0, 9))
        self.rng = rng
        self.tally: Counter[str] = Counter()

    def maybe(self, name: str, chance: float, step: Callable[[], None]) -> bool:
        """Take a step with some chance; whether it was taken and not refused."""
        if self.rng.random() >= chance:
            return False
        with suppress(ScheduleError):
            step()
            self.tally[name] += 1
            return True
        return False

    def factor(self) -> int:
        return self.rng.choice(FACTORS)

    # -- the whole program ---------------------------------------------------------------------

    def run(self) -> Schedule:
        """Draw a schedule."""
        self.inline()
        for nest in self.nests():
            found = [b for b in blocks(nest) if b.iters]
            if found and not _is_bound(nest):
                self.tile(self.rng.choice(found).name)
        self.finish()
        return self.sch

    def nests(self) -> tuple[Stmt, ...]:
        body = self.sch.program.root.body
        return body.stmts if isinstance(body, Seq) else (body,)

    def inline(self) -> None:
        for block in blocks(self.sch.program.root)[1:]:
            self.maybe("inline", 0.3, lambda b=block: self.sch.compute_inline(b.name))

    def finish(self) -> None:
        """Bind what is not bound yet."""
        for nest in self.nests():
            if not _is_bound(nest):
                self.bind_simply(nest)

    def bind_simply(self, nest: Stmt) -> None:
        loops: list[For] = []
        while isinstance(nest, For) and _spatial(nest, nest):
            loops.append(nest)
            nest = nest.body
        names = [loop.var.name for loop in loops]
        if not names:
            inside = nest.var.name if isinstance(nest, For) else blocks(nest)[0].name
            self.sch.bind(self.sch.add_unit_loop(inside), "blockIdx.x")
            return
        fused = self.name(self.sch.fuse(*names)) if len(names) > 1 else names[0]
        block, thread = self.sch.split(fused, [None, self.rng.choice((1, 3, 8, 16))])
        self.sch.bind(block, "blockIdx.x")
        self.sch.bind(thread, "threadIdx.x")

    def name(self, ref: Ref) -> str:
        return str(self.sch.value(ref))

    # -- one nest ------------------------------------------------------------------------------

    def tile(self, block: str) -> None:
        """Tiles of blocks, virtual threads, threads and registers, and what goes with them."""
        sch, rng = self.sch, self.rng
        caches: list[str] = []
        self.maybe(
            "cache_write", 0.5,
            lambda: caches.append(
                self.name(sch.cache_write(block, 0, rng.choice(("local", "local", "shared"))))
            ),
        )  # fmt: skip
        spatial, reducing = self.kinds(block)
        if not spatial:
            return
        bound: dict[str, int] = {}
        outer, threads, inner = self.split_spatial(spatial[:3])
        reduced: list[tuple[str, str]] = []
        for loop in reducing:
            with suppress(ScheduleError):
                a, b = sch.split(loop, [None, self.factor()])
                reduced.append((self.name(a), self.name(b)))
        order = [*outer, *threads, *(a for a, _ in reduced), *(b for _, b in reduced), *inner]
        if not self.maybe("reorder", 1.0, lambda: sch.reorder(*order)):
            return
        grid = rng.sample(("blockIdx.x", "blockIdx.y", "blockIdx.z"), 3)
        for loop, axis in zip(outer, grid, strict=False):
            self.bind(loop, axis, bound, 1.0)
        axes = rng.sample(("threadIdx.x", "threadIdx.y", "vthread.x", "threadIdx.z"), 4)
        for loop, axis in zip(threads, axes, strict=False):
            self.bind(loop, axis, bound, 0.9)
        if reduced and rng.random() < 0.3:
            free = [a for a in ("threadIdx.x", "threadIdx.y", "threadIdx.z") if a not in bound]
            if free and self.bind(reduced[-1][rng.randint(0, 1)], rng.choice(free), bound, 1.0):
                self.tally["cross_thread"] += 1
        if not bound:
            return
        places = [*threads, *(a for a, _ in reduced)]
        for cache in caches:
            for at in rng.sample([*outer, *threads], len(outer) + len(threads)):
                if self.maybe(
                    "write_back", 1.0, lambda c=cache, a=at: sch.reverse_compute_at(c, a)
                ):
                    break
        self.read_caches(block, places or outer, bound)
        self.producers(block, [*outer, *places], bound)
        self.details(block, reduced, inner)

    def kinds(self, block: str) -> tuple[list[str], list[str]]:
        """Loops of a block that drive spatial iterations only, and those that reduce."""
        found = next(b for b in blocks(self.sch.program.root) if b.name == block)
        used = {v for it in found.iters if it.kind != "spatial" for v in free_vars(it.binding)}
        loops = [self.name(loop) for loop in self.sch.get_loops(block)]
        reducing = {v.name for v in used}
        return [x for x in loops if x not in reducing], [x for x in loops if x in reducing]

    def split_spatial(self, loops: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
        outer, threads, inner = list[str](), list[str](), list[str]()
        for loop in loops:
            tile = [None, self.factor()] + ([self.factor()] if self.rng.random() < 0.6 else [])
            with suppress(ScheduleError):
                parts = [self.name(x) for x in self.sch.split(loop, tile)]
                outer.append(parts[0])
                threads.append(parts[1])
                inner += parts[2:]
        return outer, threads, inner

    def bind(self, loop: str, axis: str, bound: dict[str, int], chance: float) -> bool:
        extent = self.extent(loop)
        if axis.startswith("threadIdx"):
            threads = extent
            for other, size in bound.items():
                threads *= size if other.startswith("threadIdx") else 1
            if threads > MOST_THREADS:
                return False
        if self.maybe("bind", chance, lambda: self.sch.bind(loop, axis)):
            bound[axis] = extent
            return True
        return False

    def extent(self, loop: str) -> int:
        for stmt in walk(self.sch.program.root):
            if isinstance(stmt, For) and stmt.var.name == loop:
                return int_value(stmt.extent) or 10**6
        return 10**6

    # -- caches --------------------------------------------------------------------------------

    def read_caches(self, block: str, places: Sequence[str], bound: dict[str, int]) -> None:
        found = next(b for b in blocks(self.sch.program.root) if b.name == block)
        for number in range(len(found.reads)):
            scope = self.rng.choice(("shared", "shared", "shared.dyn", "local"))
            for cache in self.cached(block, number, scope):
                at = self.rng.choice(list(places))
                placed = any(
                    self.maybe(
                        "compute_at",
                        1.0,
                        lambda c=cache, a=place: self.sch.compute_at(
                            c, a, preserve_unit_loops=True
                        ),
                    )
                    for place in (at, *reversed(places))
                )
                if placed and scope != "local":
                    self.cooperate(cache, bound)

    def cached(self, block: str, number: int, scope: str) -> list[str]:
        """The cache of an operand in a list, an empty one where there is none."""
        made: list[str] = []

        def cache() -> None:
            made.append(self.name(self.sch.cache_read(block, number, scope)))

        self.maybe("cache_read", 0.6, cache)
        return made

    def cooperate(self, cache: str, bound: dict[str, int]) -> None:
        """Let the threads of a block fill a shared buffer together."""
        sch, rng = self.sch, self.rng
        own = [self.name(loop) for loop in sch.get_loops(cache)]
        mine = [x for x in own if x.startswith("ax")]
        axes = [a for a in bound if a.startswith("threadIdx")]
        rng.shuffle(axes)
        lanes = rng.choice((1, 2, 4))

        def together() -> None:
            if not mine:
                raise ScheduleError("nothing to share")
            fused = sch.fuse(*mine) if len(mine) > 1 else mine[0]
            parts = sch.split(fused, [None, *(bound[a] for a in axes), lanes])
            for part, axis in zip(parts[1:], axes, strict=False):
                sch.bind(part, axis)
            sch.vectorize(parts[-1])

        self.maybe("cooperate", 0.8, together)
        self.maybe("align", 0.2, lambda: sch.storage_align(cache, 0, 0, rng.choice((8, 32)), 4))

    def producers(self, block: str, places: Sequence[str], bound: dict[str, int]) -> None:
        for other in blocks(self.sch.program.root)[1:]:
            if other.name == block or not other.writes:
                continue
            scope = self.rng.choice(("global", "local", "shared"))
            at = self.rng.choice(list(places))

            def move(name: str = other.name, scope: str = scope, at: str = at) -> None:
                self.sch.compute_at(name, at, preserve_unit_loops=True)

            if self.maybe("producer", 0.3, move) and scope != "global":
                self.maybe(
                    "set_scope", 0.7,
                    lambda n=other.name, s=scope: self.sch.set_scope(n, 0, s),
                )  # fmt: skip

    # -- the rest ------------------------------------------------------------------------------

    def details(self, block: str, reduced: Sequence[tuple[str, str]], inner: Sequence[str]) -> None:
        sch, rng = self.sch, self.rng
        for loop in inner:
            self.maybe("unroll", 0.3, lambda x=loop: sch.unroll(x))
        if inner:
            self.maybe("vectorize", 0.3, lambda: sch.vectorize(inner[-1]))
        if reduced:
            self.maybe("decompose", 0.3, lambda: sch.decompose_reduction(block, reduced[0][0]))
            self.pipeline(reduced[-1][0])
        loops = [self.name(x) for x in sch.get_loops(block)]
        if loops:
            limit = rng.choice((4, 16, 64))
            self.maybe(
                "unroll_step", 0.2,
                lambda: sch.annotate(loops[0], "pragma_auto_unroll_max_step", limit),
            )  # fmt: skip

    def pipeline(self, loop: str) -> None:
        found = [
            s
            for s in walk(self.sch.program.root)
            if isinstance(s, For) and s.var.name == loop and isinstance(s.body, Seq)
        ]
        if not found or not isinstance(found[0].body, Seq):
            return
        count = len(found[0].body.stmts)
        last = self.rng.choice((1, 1, 2, 3))
        stages = (*([0] * (count - 1)), last)

        def annotate() -> None:
            self.sch.annotate(loop, "software_pipeline_stage", stages)
            self.sch.annotate(loop, "software_pipeline_order", tuple(range(count)))
            if self.rng.random() < 0.5:
                self.sch.annotate(loop, "software_pipeline_async_stages", (0,))

        self.maybe("pipeline", 0.4, annotate)


def _is_bound(nest: Stmt) -> bool:
    return any(isinstance(s, For) and s.kind == "thread" for s in walk(nest))


def _spatial(nest: Stmt, loop: For) -> bool:
    """Whether a serial loop drives only spatial iterations of all blocks inside."""
    if loop.kind != "serial":
        return False
    inside = [b for b in walk(loop) if isinstance(b, Block)]
    for block in inside:
        for it in block.iters:
            if it.kind != "spatial" and loop.var in free_vars(it.binding):
                return False
    drivers = [any(loop.var in free_vars(it.binding) for it in b.iters) for b in inside]
    return len(inside) == 1 and all(drivers)
