"""From a scheduled program to the kernels of a GPU: the passes in order.

Each top-level nest of the program is one kernel. Read `threads`, `memory` and `barriers`.
"""

from __future__ import annotations

from dataclasses import replace

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, int_value
from metasched.ir.procedure import FRAGMENTS
from metasched.ir.scopes import SCOPES
from metasched.ir.stmt import Block, For, Program, Seq, Stmt
from metasched.ir.walk import blocks, loads, walk, written_buffers
from metasched.lower.blocks import lower_blocks
from metasched.lower.externs import check_externs
from metasched.lower.flatten import flat_buffer, flatten
from metasched.lower.gpu.async_copies import async_copies, drop_done
from metasched.lower.gpu.barriers import place_barriers
from metasched.lower.gpu.combine import combine_threads
from metasched.lower.gpu.cross_thread import share_reductions
from metasched.lower.gpu.exchange import check_exchange
from metasched.lower.gpu.fragments import fragments_to_registers, fragments_to_shared
from metasched.lower.gpu.guards import hoist_conditions, one_thread, spread_conditions
from metasched.lower.gpu.kernel import GpuLowered, Kernel
from metasched.lower.gpu.limits import check_limits
from metasched.lower.gpu.memory import common_buffers, drop_unread, own_memory, place
from metasched.lower.gpu.software_pipeline import Pipelining, drop_marks, mark_stages
from metasched.lower.gpu.threads import axes_of, check_bound, unify_threads
from metasched.lower.gpu.unroll import mark_unrolled
from metasched.lower.gpu.vectors import vectorize
from metasched.lower.procedures import write_out
from metasched.lower.scope import Machine, Scope

_SUPPORTED = frozenset({"global", "local", "shared", "shared.dyn"}) | FRAGMENTS


def lower_gpu(program: Program, target: Machine) -> GpuLowered:
    """Lower a program whose nests are bound to threads.

    Raises:
        CodegenError: the program has what the target cannot do; the message says what.
    """
    _check(program)
    check_externs(program.root, target)
    scope = Scope(program, target)
    nests = program.root.body.stmts if isinstance(program.root.body, Seq) else (program.root.body,)
    between = _between(program, nests)
    scope.params |= between
    temporaries = [flat_buffer(b) for b in between]
    kernels: list[Kernel] = []
    for number, nest in enumerate(nests):
        check_bound(nest)
        name = program.name if len(nests) == 1 else f"{program.name}_{number}"
        kernel, spread = _kernel(name, replace(program.root, body=nest), scope)
        kernels.append(kernel)
        temporaries += spread
    return GpuLowered(
        name=program.name,
        params=tuple(flat_buffer(p) for p in program.params),
        temporaries=tuple(sorted(temporaries, key=lambda b: b.name)),
        kernels=tuple(kernels),
        ranges=scope.ranges,
    )


def _kernel(name: str, root: Block, scope: Scope) -> tuple[Kernel, list[Buffer]]:
    """The kernel of one nest, and what it keeps in device memory for itself."""
    axes = axes_of(root.body, scope)
    nest, shares = share_reductions(mark_stages(root.body), scope)
    body = lower_blocks(replace(root, body=nest), scope)
    body = write_out(body, scope)
    body = own_memory(body, scope)
    body = unify_threads(body, axes, scope)
    body = place(body, axes, scope)
    pipelining = Pipelining(scope)
    body = drop_marks(pipelining.build(body))
    body = fragments_to_shared(body, axes)
    body = fragments_to_registers(body, axes, scope)
    body = flatten(body, scope)
    body, common = common_buffers(body)
    check_exchange(body, axes, scope)
    body, trees = combine_threads(body, shares, axes, scope)
    body = drop_unread(body)
    body = one_thread(body, axes.values(), scope)
    body = spread_conditions(body, axes.values())
    kernel = place_barriers(Kernel(name, axes, body), scope)
    body = hoist_conditions(drop_done(kernel.body), scope)
    body = vectorize(body, scope)
    body = async_copies(body, pipelining.filled)
    body = mark_unrolled(body, scope)
    shared = (*(b for b in common if b.scope != "global"), *trees)
    finished = Kernel(name, axes, body, shared)
    if scope.target.gpu is not None:
        check_limits(finished, scope.target.gpu)
    return finished, [b for b in common if b.scope == "global"]


def _between(program: Program, nests: tuple[Stmt, ...]) -> frozenset[Buffer]:
    """The intermediates that several kernels use."""
    seen: set[Buffer] = set()
    several: set[Buffer] = set()
    for nest in nests:
        used = written_buffers(nest) | {x.buffer for x in loads(nest)}
        several |= used & seen
        seen |= used
    found = several - set(program.params)
    for buffer in found:
        if buffer.scope != "global":
            raise CodegenError(
                f"buffer '{buffer.name}' lives in '{buffer.scope}' memory, but several kernels use "
                "it; move the blocks into one nest, or set_scope to global"
            )
    return frozenset(found)


def _check(program: Program) -> None:
    for buffer in (*program.params, *(b for x in blocks(program.root) for b in x.allocs)):
        if buffer.scope not in _SUPPORTED:
            raise CodegenError(
                f"buffer '{buffer.name}' lives in '{buffer.scope}' memory ({SCOPES[buffer.scope]}),"
                f" which plain loads and stores cannot reach; use one of {sorted(_SUPPORTED)}"
            )
        if any(int_value(extent) is None for extent in buffer.shape):
            raise CodegenError(
                f"buffer '{buffer.name}' has a symbolic size, which a GPU kernel cannot have; "
                "give the sizes of the program as numbers"
            )
    for loop in walk(program.root):
        if isinstance(loop, For) and loop.kind == "parallel":
            raise CodegenError(
                f"loop '{loop.var.name}' is parallel, which a GPU does not have; bind it to "
                "blockIdx.x or threadIdx.x"
            )
