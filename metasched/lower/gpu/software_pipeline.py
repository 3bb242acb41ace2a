"""Pass: the statements of a loop overlap with those of other iterations.

``software_pipeline_stage`` gives each statement in a loop a stage: one of stage ``s`` works for the
iteration that began ``s`` iterations ago, so that values are fetched before they are needed.
``software_pipeline_order`` says in which order the statements run. A buffer that is filled in one
stage and used in a later one gets as many versions as are alive together. Copies into shared memory
in a stage of ``software_pipeline_async_stages`` run beside the threads where the target has
``cp_async`` (see `async_copies`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, Expr, Load, Var, const, floormod, int_value, less
from metasched.ir.procedure import runs_beside
from metasched.ir.stmt import Alloc, For, If, Invoke, Seq, Stmt, Store, annotation, seq
from metasched.ir.threads import SHARED
from metasched.ir.walk import (
    loads,
    map_expr,
    map_exprs,
    map_stmts,
    stores,
    substitute_stmt,
    walk,
    written_buffers,
)
from metasched.lower.gpu.async_copies import COMMIT, done, wait
from metasched.lower.gpu.kernel import HERE
from metasched.lower.scope import Scope

STAGE: Final = "software_pipeline_stage"
ORDER: Final = "software_pipeline_order"
ASYNC: Final = "software_pipeline_async_stages"
_NEXT: Final = Invoke("next_stage")
"""Stands between the statements of a loop to pipeline, since lowering joins sequences."""


def mark_stages(stmt: Stmt) -> Stmt:
    """Part the statements of loops to pipeline, before their blocks are lowered.

    Raises:
        CodegenError: stages and order are not one number for each statement.
    """
    stmt = map_stmts(stmt, mark_stages)
    if not isinstance(stmt, For) or annotation(stmt.annotations, STAGE) is None:
        return stmt
    children = stmt.body.stmts if isinstance(stmt.body, Seq) else (stmt.body,)
    count = len(children)
    stages, order = _numbers(stmt, STAGE), _numbers(stmt, ORDER)
    if len(stages) != count or sorted(order) != list(range(count)) or min(stages) < 0:
        raise CodegenError(
            f"loop '{stmt.var.name}' has {count} statements, but {STAGE}={stages} and "
            f"{ORDER}={order}; give each a stage from 0 and a place in the order"
        )
    parted: list[Stmt] = []
    for child in children:
        parted += [child] if not parted else [_NEXT, child]
    return replace(stmt, body=seq(*parted))


def _numbers(loop: For, key: str) -> tuple[int, ...]:
    value = annotation(loop.annotations, key)
    items = value if isinstance(value, tuple) else ()
    return tuple(v for v in items if isinstance(v, int))


@dataclass(slots=True)
class Pipelining:
    """The pass, and which buffers it found to be filled by asynchronous copies."""

    scope: Scope
    filled: set[str] = field(default_factory=set[str])
    common: dict[Buffer, Buffer] = field(default_factory=dict[Buffer, Buffer])
    """Buffers of the block by what they were, where they have several versions now."""

    def build(self, stmt: Stmt) -> Stmt:
        """A kernel's body, inside the allocations of its block, with its loops pipelined."""
        changed = self.visit(stmt)
        return _declared(changed, self.common) if self.common else changed

    def visit(self, stmt: Stmt) -> Stmt:
        """Pipeline the loops that ask for it, innermost first.

        Raises:
            CodegenError: a stage needs what a later one makes.
        """
        stmt = map_stmts(stmt, self.visit)
        if isinstance(stmt, For) and annotation(stmt.annotations, STAGE) is not None:
            return _Pipeline.of(stmt, self).build()
        return stmt


def _declared(stmt: Stmt, versions: Mapping[Buffer, Buffer]) -> Stmt:
    if isinstance(stmt, Alloc) and stmt.buffer in versions:
        return Alloc(versions[stmt.buffer], _declared(stmt.body, versions))
    return map_stmts(stmt, lambda s: _declared(s, versions))


def drop_marks(stmt: Stmt) -> Stmt:
    """The statement without marks, as those of a loop of one step."""
    if isinstance(stmt, Seq):
        return seq(*(drop_marks(s) for s in stmt.stmts if s != _NEXT))
    return map_stmts(stmt, drop_marks)


@dataclass(frozen=True, slots=True)
class _Group:
    """One statement of the loop as it was scheduled."""

    stmt: Stmt
    stage: int
    place: int
    is_async: bool

    @property
    def written(self) -> set[Buffer]:
        return written_buffers(self.stmt)

    @property
    def read(self) -> set[Buffer]:
        return {x.buffer for x in loads(self.stmt)}


def _copies(stmt: Stmt) -> bool:
    """Whether a statement does no more than copy device memory to shared memory."""
    found = stores(stmt)
    calls = any(isinstance(s, Invoke) for s in walk(stmt))
    moves = (type(s.value) is Load and s.value.buffer.scope == "global" for s in found)
    into = (s.buffer.scope in SHARED for s in found)
    return bool(found) and not calls and all(moves) and all(into)


@dataclass(frozen=True, slots=True)
class _Pipeline:
    owner: Pipelining
    loop: For
    extent: int
    groups: tuple[_Group, ...]
    own: tuple[Buffer, ...]
    """Buffers of the thread that live across statements of an iteration."""

    @staticmethod
    def of(loop: For, owner: Pipelining) -> _Pipeline:
        own: list[Buffer] = []
        body = loop.body
        while isinstance(body, Alloc):
            own.append(body.buffer)
            body = body.body
        extent = int_value(loop.extent)
        if extent is None:
            raise CodegenError(
                f"loop '{loop.var.name}' runs {loop.extent} times, and only one that runs a known "
                "number of times can be pipelined"
            )
        parts: list[list[Stmt]] = [[]]
        for stmt in body.stmts if isinstance(body, Seq) else (body,):
            if stmt == _NEXT:
                parts.append([])
            else:
                parts[-1].append(stmt)
        stages, order = _numbers(loop, STAGE), _numbers(loop, ORDER)
        copies = frozenset(_numbers(loop, ASYNC))
        target = owner.scope.target
        able = target.kind == "cuda" and "cp_async" in target.features
        groups = tuple(
            _Group(seq(*part), stage, place, able and stage in copies and _copies(seq(*part)))
            for part, stage, place in zip(parts, stages, order, strict=True)
        )
        pipeline = _Pipeline(owner, loop, extent, groups, tuple(own))
        pipeline.check()
        return pipeline

    @property
    def last(self) -> int:
        """The last stage."""
        return max(group.stage for group in self.groups)

    @property
    def in_order(self) -> list[_Group]:
        return sorted(self.groups, key=lambda g: g.place)

    def check(self) -> None:
        for number, group in enumerate(self.groups):
            for other in self.groups[number + 1 :]:
                linked = (group.written & (other.read | other.written)) | (
                    group.read & other.written
                )
                late = (group.stage, group.place) > (other.stage, other.place)
                if linked and (group.stage > other.stage or (group.stage == other.stage and late)):
                    name = min(b.name for b in linked)
                    raise CodegenError(
                        f"loop '{self.loop.var.name}' cannot be pipelined: a statement of stage "
                        f"{other.stage} needs '{name}', which one of stage {group.stage} makes"
                    )

    def versions(self) -> dict[Buffer, int]:
        """How many versions of a buffer are alive together, where more than one."""
        found: dict[Buffer, int] = {}
        for buffer in {b for group in self.groups for b in group.written}:
            if buffer in self.owner.scope.params:
                continue
            makers = [g for g in self.groups if buffer in g.written]
            users = [g for g in self.groups if buffer in g.read | g.written]
            first, final = min(g.stage for g in makers), max(g.stage for g in users)
            if first == final:
                continue
            start = min(g.place for g in makers if g.stage == first)
            end = max(g.place for g in users if g.stage == final)
            used = start < end or any(runs_beside(g.stmt) for g in users)
            found[buffer] = max(1, final - first + used)
        return {b: n for b, n in found.items() if n > 1}

    def build(self) -> Stmt:
        versions = self.versions()
        names = {b: replace(
            b, shape=(const(n), *b.shape),
            align=tuple((axis + 1, factor, by) for axis, factor, by in b.align),
        ) for b, n in versions.items()}  # fmt: skip
        for buffer, name in names.items():
            if buffer not in self.own:
                self.owner.common[buffer] = name
        for group in self.groups:
            if group.is_async:
                written = {names.get(b, b) for b in group.written if b.scope in SHARED}
                self.owner.filled |= {b.name for b in written}
        emit = _Emission(self, names)
        parts = [s for step in range(self.last) for s in emit.start(step)]
        var = self.owner.scope.fresh_var(self.loop.var.name, const(self.extent))
        kept = tuple(a for a in self.loop.annotations if not a[0].startswith("software_"))
        body = seq(*emit.steady(var))
        result = seq(*parts, For(var, const(self.extent), body, "serial", annotations=kept))
        for buffer in reversed(self.own):
            result = Alloc(names.get(buffer, buffer), result)
        return result


@dataclass(frozen=True, slots=True)
class _Emission:
    """The statements of one step of the pipeline."""

    pipeline: _Pipeline
    names: Mapping[Buffer, Buffer]

    def start(self, step: int) -> list[Stmt]:
        """The statements of a step before the last stage begins."""
        groups = [g for g in self.pipeline.in_order if 0 <= step - g.stage < self.pipeline.extent]
        behind = [self.behind(g, step) for g in groups]
        parts = self.waits(groups, [const(step - g.stage) for g in groups], behind)
        for group in groups:
            parts.append(self.at(group, const(step - group.stage)))
        return [*parts, COMMIT] if self.copying else parts

    def steady(self, var: Var) -> list[Stmt]:
        """The statements of a step in which the last stage works for the iteration ``var``.

        Stages ahead of it end earlier. Groups of copies are counted, so that there is one for each
        step, if an empty one.
        """
        simplify = self.pipeline.owner.scope.simplify
        last, extent = self.pipeline.last, self.pipeline.extent
        groups = self.pipeline.in_order
        iterations = [simplify(var + (last - g.stage)) for g in groups]
        parts = self.waits(groups, iterations, [self.behind(g, None) for g in groups])
        for group, iteration in zip(groups, iterations, strict=True):
            stmt = self.at(group, iteration)
            ahead = less(iteration, const(extent))
            parts.append(stmt if group.stage == last else If(ahead, stmt))
        return [*parts, COMMIT] if self.copying else parts

    @property
    def copying(self) -> list[_Group]:
        return [g for g in self.pipeline.groups if g.is_async]

    def behind(self, group: _Group, step: int | None) -> int:
        """How many groups of copies may be on the way when a statement runs.

        A step commits one at its end, with the copies of the iterations that its stages are at.
        """
        newest = max((g.stage for g in self.copying if g.written & group.read), default=0)
        begun = group.stage - newest
        return begun - 1 if step is None else min(begun - 1, step)

    def waits(
        self, groups: Sequence[_Group], iterations: Sequence[Expr], behind: Sequence[int]
    ) -> list[Stmt]:
        """One wait, first of all, for the copies that the statements of a step need.

        Other threads may use them after a barrier, for which this is a good place: what the copies
        of this step overwrite is not needed any more, either.
        """
        left: list[int] = []
        finished: list[Stmt] = []
        for group, iteration, count in zip(groups, iterations, behind, strict=True):
            needed = [g for g in self.copying if not group.is_async and g.written & group.read]
            if needed:
                left.append(max(count, 0))
                finished += [done(self.at(g, iteration)) for g in needed]
        return [wait(min(left)), *finished, HERE] if left else []

    def at(self, group: _Group, iteration: Expr) -> Stmt:
        """A statement for one iteration, on the versions of its buffers."""
        stmt = _versioned(group.stmt, self.names, self.pipeline.loop.var)
        values: dict[Var, Expr] = {self.pipeline.loop.var: iteration}
        return map_exprs(substitute_stmt(stmt, values), self.pipeline.owner.scope.simplify)


def _versioned(stmt: Stmt, names: Mapping[Buffer, Buffer], var: Var) -> Stmt:
    """A statement on the versions for the iteration ``var``."""
    if not names:
        return stmt

    def version(buffer: Buffer) -> Expr:
        return floormod(var, int_value(buffer.shape[0]) or 1)

    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        if type(mapped) is Load and (name := names.get(mapped.buffer)) is not None:
            return Load(name, (version(name), *mapped.indices))
        return mapped

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        if isinstance(node, Store) and (name := names.get(node.buffer)) is not None:
            return Store(name, (version(name), *node.indices), node.value)
        return node

    return in_stmt(map_exprs(stmt, in_expr))
