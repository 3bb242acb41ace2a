"""From tensors to a program: every computed tensor becomes one loop nest around one block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from metasched.errors import UsageError
from metasched.ir.expr import Buffer, Expr, Load, Var, const
from metasched.ir.regions import element_regions, read_accesses, write_accesses
from metasched.ir.stmt import Block, For, IterKind, IterVar, Program, Stmt, Store, seq
from metasched.ir.walk import expr_loads, fresh_name, map_expr, walk_expr
from metasched.te.reduction import Axis, Reduction
from metasched.te.tensor import Stage, Tensor, check_name


def program(tensors: Sequence[Tensor], name: str = "main") -> Program:
    """The program that computes tensors from placeholders.

    The given tensors are its parameters in order; computed ones that they read and that are not
    given are its intermediates. Stages run in the order in which they need each other, each as
    one loop per axis around a block of the tensor's name. Names that occur twice get a suffix.

    Args:
        tensors: inputs and outputs, each once.
        name: name of the program.

    Raises:
        UsageError: nothing is computed, a placeholder is read that is not given, or a definition
            uses an axis that is not its own.
    """
    check_name(name, "program name")
    params = _checked(tensors)
    order = _topological(params)
    stages = [t for t in order if t.stage is not None]
    if not stages:
        raise UsageError(f"program '{name}' computes nothing; list a te.compute tensor")
    for tensor in order:
        if tensor.stage is None and tensor not in params:
            raise UsageError(f"'{tensor.name}' is read but is no parameter; list it in te.program")
    builder = _Builder.start(params, stages)
    nests = [builder.nest(tensor) for tensor in stages]
    given = tuple(builder.buffers[t] for t in params)
    allocs = tuple(b for t in stages for b in builder.outputs[t] if b not in given)
    root = Block(fresh_name("root", builder.names), (), (), (), seq(*nests), allocs=allocs)
    return Program(name, given, root)


def _checked(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    params = tuple(tensors)
    for tensor in params:
        if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"te.program takes tensors, got {tensor!r}")
    if len(set(params)) != len(params):
        raise UsageError("te.program lists a tensor twice; list each once")
    return params


def _topological(params: Iterable[Tensor]) -> list[Tensor]:
    """Every tensor that the parameters need, producers first, in a deterministic order."""
    order: dict[Tensor, None] = {}

    def visit(tensor: Tensor) -> None:
        if tensor in order:
            return
        for source in _sources(tensor):
            visit(source)
        order[tensor] = None

    for tensor in params:
        visit(tensor)
    return list(order)


def _sources(tensor: Tensor) -> list[Tensor]:
    if tensor.stage is None:
        return []
    buffers = [load.buffer for load in expr_loads(_value(tensor.stage))]
    return [b for b in buffers if isinstance(b, Tensor)]


def _value(stage: Stage) -> Expr:
    return stage.body.value if isinstance(stage.body, Reduction) else stage.body


@dataclass(frozen=True, slots=True)
class _Builder:
    """Names in use and the program's buffer of each tensor."""

    names: set[str]
    buffers: dict[Tensor, Buffer]
    outputs: dict[Tensor, tuple[Buffer, ...]]

    @staticmethod
    def start(params: Sequence[Tensor], stages: Sequence[Tensor]) -> _Builder:
        tensors = list(dict.fromkeys((*params, *stages)))
        builder = _Builder(_size_names(tensors), {}, {})
        for tensor in tensors:
            buffer = Buffer(builder.claim(tensor.name), tensor.shape, tensor.dtype)
            builder.buffers[tensor] = buffer
        for tensor in stages:
            builder.outputs[tensor] = (builder.buffers[tensor], *builder.hidden(tensor))
        return builder

    def claim(self, base: str) -> str:
        name = fresh_name(base, self.names)
        self.names.add(name)
        return name

    def hidden(self, tensor: Tensor) -> tuple[Buffer, ...]:
        """The further accumulators of a reduction with several."""
        body = tensor.stage.body if tensor.stage else None
        extra = body.identities()[1:] if isinstance(body, Reduction) else ()
        base = self.buffers[tensor].name
        return tuple(Buffer(self.claim(f"{base}_value"), tensor.shape, c.dtype) for c in extra)

    def nest(self, tensor: Tensor) -> Stmt:
        stage = tensor.stage
        assert stage is not None, "only computed tensors have loops"
        reduction = stage.body if isinstance(stage.body, Reduction) else None
        kinds: list[tuple[Axis, IterKind]] = [(a, "spatial") for a in stage.axes]
        if reduction is not None:
            kinds.extend((a, "reduce") for a in reduction.axes)
        if not kinds:
            kinds = [(Axis("unit", extent=const(1)), "spatial")]
        _check_axes(tensor, {a for a, _ in kinds})
        block_name = self.buffers[tensor].name
        loops = [Var(self._loop_name(block_name, axis.name)) for axis, _ in kinds]
        inner = {a: Var(self.claim(f"v_{v.name}")) for (a, _), v in zip(kinds, loops, strict=True)}
        iters = tuple(
            IterVar(inner[a], a.extent, kind, loop)
            for (a, kind), loop in zip(kinds, loops, strict=True)
        )
        body: Stmt = self._block(tensor, iters, inner)
        for axis in reversed(iters):
            body = For(_loop_var(axis), axis.extent, body)
        return body

    def _loop_name(self, block: str, axis: str) -> str:
        return self.claim(axis if axis not in self.names else f"{block}_{axis}")

    def _block(self, tensor: Tensor, iters: tuple[IterVar, ...], inner: dict[Axis, Var]) -> Block:
        stage = tensor.stage
        assert stage is not None, "only computed tensors have blocks"
        outputs = self.outputs[tensor]
        at = tuple(inner[a] for a in stage.axes)
        resolve = self._resolver(inner)
        init: Stmt | None = None
        if isinstance(stage.body, Reduction):
            identities = stage.body.identities()
            init = _stores(outputs, at, identities)
            state = tuple(Load(b, at) for b in outputs)
            axes = [inner[a] for a in stage.body.axes]
            values = stage.body.combine(state, resolve(stage.body.value), axes)
        else:
            values = [resolve(stage.body)]
        body = _stores(outputs, at, values)
        written = write_accesses(body)
        read = [access for access in read_accesses(body) if access not in written]
        reads, writes = (element_regions(found, iters) for found in (read, written))
        return Block(outputs[0].name, iters, reads, writes, body, init)

    def _resolver(self, inner: dict[Axis, Var]) -> Callable[[Expr], Expr]:
        """Exchange axes for the block's variables and tensors for the program's buffers."""

        def resolve(expr: Expr) -> Expr:
            if isinstance(expr, Axis):
                return inner[expr]
            mapped = map_expr(expr, resolve)
            if isinstance(mapped, Load) and isinstance(mapped.buffer, Tensor):
                return Load(self.buffers[mapped.buffer], mapped.indices)
            return mapped

        return resolve


def _loop_var(axis: IterVar) -> Var:
    assert isinstance(axis.binding, Var), "a new block is bound to plain loops"
    return axis.binding


def _stores(buffers: Sequence[Buffer], at: tuple[Expr, ...], values: Sequence[Expr]) -> Stmt:
    return seq(*(Store(b, at, v) for b, v in zip(buffers, values, strict=True)))


def _size_names(tensors: Iterable[Tensor]) -> set[str]:
    """Names of symbolic sizes, which no buffer or loop may take."""
    exprs: list[Expr] = []
    for tensor in tensors:
        exprs.extend(tensor.shape)
        if tensor.stage is not None:
            exprs.append(_value(tensor.stage))
            exprs.extend(a.extent for a in _reduction_axes(tensor.stage))
    found = (node for expr in exprs for node in walk_expr(expr))
    return {node.name for node in found if type(node) is Var}


def _reduction_axes(stage: Stage) -> tuple[Axis, ...]:
    return stage.body.axes if isinstance(stage.body, Reduction) else ()


def _check_axes(tensor: Tensor, own: set[Axis]) -> None:
    stage = tensor.stage
    assert stage is not None, "only computed tensors have axes"
    for node in walk_expr(_value(stage)):
        if isinstance(node, Axis) and node not in own:
            raise UsageError(
                f"the definition of '{tensor.name}' uses axis '{node.name}', which it neither "
                "spans nor reduces; reduce over it with te.sum or its like"
            )
