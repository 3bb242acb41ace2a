"""The immutable state that primitives map to a new state: a program and an index of its tree.

Primitives name loops by their variable and blocks by their name; both are unique in a program.
Rewrites rebuild the path from the changed statement to the root and share everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from metasched.errors import ScheduleError, suggest
from metasched.ir.expr import Expr, Var, logical_and
from metasched.ir.printer import print_program
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, If, IterVar, Program, Seq, Stmt, seq
from metasched.ir.walk import child_stmts, fresh_name, map_stmts, names, substitute


@dataclass(frozen=True, slots=True)
class Tree:
    """Where each loop and block stands.

    ``ancestors`` lists the enclosing statements from the root block down to the direct parent.
    Statements inside a block's init are not indexed.
    """

    loops: Mapping[str, For]
    blocks: Mapping[str, Block]
    ancestors: Mapping[int, tuple[Stmt, ...]]

    @staticmethod
    def of(root: Block) -> Tree:
        """Index the tree under a root block."""
        loops: dict[str, For] = {}
        blocks: dict[str, Block] = {}
        ancestors: dict[int, tuple[Stmt, ...]] = {}
        stack: list[tuple[Stmt, tuple[Stmt, ...]]] = [(root, ())]
        while stack:
            node, path = stack.pop()
            ancestors[id(node)] = path
            inner = (*path, node)
            match node:
                case For():
                    loops[node.var.name] = node
                    stack.append((node.body, inner))
                case Block():
                    blocks[node.name] = node
                    stack.append((node.body, inner))
                case _:
                    stack.extend((child, inner) for child in reversed(child_stmts(node)))
        return Tree(loops, blocks, ancestors)


@dataclass(frozen=True, slots=True)
class State:
    """A program being scheduled.

    Attributes:
        program: the current program.
        removed: names of loops and blocks that are gone, with the primitive that removed them.
        tiles: symbolic factors known to multiply to an extent (see ``sample_perfect_tile``).
    """

    program: Program
    removed: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    tiles: tuple[tuple[tuple[Expr, ...], Expr], ...] = ()
    _tree: Tree | None = field(init=False, repr=False, compare=False, default=None)
    _names: frozenset[str] | None = field(init=False, repr=False, compare=False, default=None)

    @property
    def tree(self) -> Tree:
        """Where each loop and block stands; found when first asked, as many states pass unseen."""
        if self._tree is None:
            object.__setattr__(self, "_tree", Tree.of(self.program.root))
        assert self._tree is not None, "just set"
        return self._tree

    @property
    def names(self) -> frozenset[str]:
        """Every name that is in use or was; found when first asked."""
        if self._names is None:
            used = names(self.program.root)
            used.update((p.name for p in self.program.params), self.removed)
            object.__setattr__(self, "_names", frozenset(used))
        assert self._names is not None, "just set"
        return self._names

    # -- looking up ----------------------------------------------------------------------------

    def loop(self, name: str, primitive: str = "schedule") -> For:
        """The loop whose variable has that name."""
        found = self.tree.loops.get(name)
        if found is None:
            raise self._missing("loop", name, self.tree.loops, primitive)
        return found

    def block(self, name: str, primitive: str = "schedule") -> Block:
        """The block of that name."""
        found = self.tree.blocks.get(name)
        if found is None:
            raise self._missing("block", name, self.tree.blocks, primitive)
        return found

    def _missing(
        self, kind: str, name: str, known: Mapping[str, object], primitive: str
    ) -> ScheduleError:
        said = f"there is no {kind} '{name}'{suggest(name, known)}"
        if name in self.removed:
            by = self.removed[name]
            said = f"{kind} '{name}' is gone, {by} removed it; use the handles that it returned"
        return ScheduleError(f"{primitive}: {said}\n{print_program(self.program)}")

    def ancestors(self, stmt: Stmt) -> tuple[Stmt, ...]:
        """The statements around one, from the root block to the direct parent."""
        return self.tree.ancestors[id(stmt)]

    def loops_above(self, stmt: Stmt) -> tuple[For, ...]:
        """The loops around a statement inside its scope, outermost first."""
        found: list[For] = []
        for node in self.ancestors(stmt):
            if isinstance(node, Block):
                found.clear()
            elif isinstance(node, For):
                found.append(node)
        return tuple(found)

    def iters_around(self, stmt: Stmt) -> dict[Var, Expr]:
        """The iteration variables of the blocks around a statement, with their extents."""
        blocks = (node for node in self.ancestors(stmt) if isinstance(node, Block))
        return {it.var: it.extent for block in blocks for it in block.iters}

    def scope(self, stmt: Stmt) -> Block:
        """The block that directly encloses a statement."""
        return next(n for n in reversed(self.ancestors(stmt)) if isinstance(n, Block))

    def node(self, name: str, primitive: str = "schedule") -> For | Block:
        """The loop or block of that name."""
        loop = self.tree.loops.get(name)
        if loop is not None:
            return loop
        found = self.tree.blocks.get(name)
        if found is None:
            raise self._missing(
                "loop or block", name, {**self.tree.loops, **self.tree.blocks}, primitive
            )
        return found

    def simplifier(self, stmt: Stmt, *, keep_units: bool = False) -> Simplifier:
        """A simplifier that knows every loop and iteration variable around a statement."""
        known = Simplifier(keep_units=keep_units)
        for node in self.ancestors(stmt):
            if isinstance(node, For):
                known.bind(node.var, node.extent)
            elif isinstance(node, Block):
                for it in node.iters:
                    known.bind(it.var, it.extent)
        return known

    def fresh(self, *bases: str) -> tuple[str, ...]:
        """Names like the given ones that are not in use and never were, so handles stay clear."""
        used = set(self.names)
        result: list[str] = []
        for base in bases:
            name = fresh_name(base, used)
            used.add(name)
            result.append(name)
        return tuple(result)

    # -- rewriting -----------------------------------------------------------------------------

    def replace(self, old: Stmt, new: Stmt | None) -> State:
        """Exchange a statement of the tree; None removes it and what becomes empty around it."""
        current = new
        child = old
        for parent in reversed(self.ancestors(old)):
            current = _rebuild(parent, child, current)
            child = parent
        if not isinstance(current, Block):
            raise ScheduleError("the last statement of a program cannot be removed")
        return self.with_root(current)

    def with_root(self, root: Block) -> State:
        """The state with another root block."""
        return replace(self, program=replace(self.program, root=root))

    def edit(self, change: Callable[[Stmt], Stmt | None]) -> State:
        """Rebuild the tree bottom-up; ``change`` returns a statement, itself, or None to drop it.

        Blocks' inits are not visited.
        """
        root = edit_stmt(self.program.root, change)
        if not isinstance(root, Block):
            raise ScheduleError("the last statement of a program cannot be removed")
        return self.with_root(root)

    def without(self, primitive: str, *gone: str) -> State:
        """Remember which primitive removed some loops or blocks, for later messages."""
        return replace(self, removed={**self.removed, **dict.fromkeys(gone, primitive)})


def _rebuild(parent: Stmt, old: Stmt, new: Stmt | None) -> Stmt | None:
    """``parent`` with its child exchanged; None when nothing is left in it."""
    match parent:
        case Seq():
            kept = [s if s is not old else new for s in parent.stmts]
            left = [s for s in kept if s is not None]
            return seq(*left) if left else None
        case For():
            return None if new is None else with_body(parent, new)
        case Block():
            return None if new is None else replace(parent, body=new)
        case _:
            if new is None:
                return None
            return map_stmts(parent, lambda s: new if s is old else s)


def with_body(loop: For, body: Stmt) -> For:
    """A loop around another body (``dataclasses.replace`` is much slower)."""
    return For(loop.var, loop.extent, body, loop.kind, loop.thread, loop.annotations)


def edit_stmt(
    stmt: Stmt, change: Callable[[Stmt], Stmt | None], *, into_blocks: bool = True
) -> Stmt | None:
    """Rebuild a statement bottom-up, dropping what ``change`` answers with None."""
    match stmt:
        case Block() if not into_blocks:
            return change(stmt)
        case For() | Block():
            body = edit_stmt(stmt.body, change, into_blocks=into_blocks)
            if body is None or body is stmt.body:
                return None if body is None else change(stmt)
            return change(
                with_body(stmt, body) if isinstance(stmt, For) else replace(stmt, body=body)
            )
        case Seq():
            parts = [edit_stmt(s, change, into_blocks=into_blocks) for s in stmt.stmts]
            left = [p for p in parts if p is not None]
            if not left:
                return None
            same = len(left) == len(stmt.stmts) and all(
                a is b for a, b in zip(left, stmt.stmts, strict=True)
            )
            return change(stmt if same else seq(*left))
        case If():
            return _edit_if(stmt, change, into_blocks)
        case _:
            return change(stmt)


def _edit_if(stmt: If, change: Callable[[Stmt], Stmt | None], into_blocks: bool) -> Stmt | None:
    then = edit_stmt(stmt.then, change, into_blocks=into_blocks)
    other = stmt.other and edit_stmt(stmt.other, change, into_blocks=into_blocks)
    if then is None and other is None:
        return None
    if then is stmt.then and other is stmt.other:
        return change(stmt)
    return change(If(stmt.cond, Seq(()) if then is None else then, other))


def blocks_under(stmt: Stmt) -> Iterator[Block]:
    """The blocks directly in the scope of a statement (not those nested in other blocks)."""
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, Block):
            yield node
        else:
            stack.extend(reversed(child_stmts(node)))


def loops_under(stmt: Stmt) -> Iterator[For]:
    """The loops of a statement down to its blocks, itself included, outermost first."""
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, For):
            yield node
        if not isinstance(node, Block):
            stack.extend(reversed(child_stmts(node)))


def guard_blocks(stmt: Stmt, guard: Expr) -> Stmt:
    """Conjoin a condition over loop variables to every block in the scope of a statement."""

    def change(node: Stmt) -> Stmt:
        if isinstance(node, Block):
            return replace(node, predicate=logical_and(node.predicate, guard))
        return node

    guarded = edit_stmt(stmt, change, into_blocks=False)
    return stmt if guarded is None else guarded


def rebind(
    stmt: Stmt,
    values: Mapping[Var, Expr],
    simplify: Callable[[Expr], Expr] = lambda e: e,
) -> Stmt:
    """Replace loop variables in the bindings, predicates and extents under a statement.

    Blocks' bodies see no loop variables, so they are shared unchanged.
    """

    def visit(expr: Expr) -> Expr:
        if type(expr) is Var:
            return values.get(expr, expr)
        changed = substitute(expr, values)
        return expr if changed is expr else simplify(changed)

    match stmt:
        case Block():
            iters = tuple(
                it
                if (b := visit(it.binding)) is it.binding
                else IterVar(it.var, it.extent, it.kind, b)
                for it in stmt.iters
            )
            return replace(stmt, iters=iters, predicate=visit(stmt.predicate))
        case For():
            body = rebind(stmt.body, values, simplify)
            extent = visit(stmt.extent)
            return For(stmt.var, extent, body, stmt.kind, stmt.thread, stmt.annotations)
        case If():
            inner = map_stmts(stmt, lambda s: rebind(s, values, simplify))
            return inner if not isinstance(inner, If) else replace(inner, cond=visit(inner.cond))
        case _:
            return map_stmts(stmt, lambda s: rebind(s, values, simplify))
