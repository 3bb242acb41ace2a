"""A good schedule for any program without tuning: the rules of the space with fixed choices."""

from __future__ import annotations

from typing import Final

from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.cpu import CPU_INTRINS, CPU_POSTPROCS
from metasched.space.default_rules import InRegisters, PlaceInReader
from metasched.space.default_tiles import default_tensor_tiles, default_tiles
from metasched.space.generate import drafts
from metasched.space.gpu_schedule import GPU_ATTEMPTS, GPU_FINISH
from metasched.space.postprocs import AbstractPostproc, Rejected, postprocess
from metasched.space.rules import (
    AbstractRule,
    AddRFactor,
    AutoInline,
    InlineConstantScalars,
    MultiLevelTiling,
    MultiLevelTilingWithIntrin,
    ParallelizeVectorizeUnroll,
)
from metasched.space.rules.multi_level_tiling import PackReads, WriteReuse
from metasched.target import Target

_INLINE: Final[tuple[AbstractRule, ...]] = (InlineConstantScalars(), AutoInline())
_NOTES: Final = ParallelizeVectorizeUnroll(unroll_max_steps=(16,))
_DIRECT: Final = MultiLevelTiling(
    reuse_write=WriteReuse("no"), pack_reads=PackReads("must"), fixed=default_tiles
)
_TILING: Final = MultiLevelTiling(
    reuse_write=WriteReuse("must", (2,)), pack_reads=PackReads("must"), fixed=default_tiles
)
_UNPACKED: Final = MultiLevelTiling(
    reuse_write=WriteReuse("no"), pack_reads=PackReads("no"), fixed=default_tiles
)
_TENSOR: Final = MultiLevelTilingWithIntrin(
    CPU_INTRINS, pack_levels=(0,), keep_plain=False, fixed=default_tensor_tiles
)
_LANES: Final = AddRFactor(variants=("lanes",), max_innermost_factor=16, fixed=True)
_ATTEMPTS: Final[tuple[tuple[AbstractRule, ...], ...]] = (
    (*_INLINE, _LANES, _TENSOR, _DIRECT, InRegisters(), _NOTES, PlaceInReader()),
    (*_INLINE, _LANES, _TENSOR, _TILING, _NOTES, PlaceInReader()),
    (*_INLINE, _UNPACKED, _NOTES, PlaceInReader()),
    (*_INLINE, _NOTES),
    (_NOTES,),
    (),
)
_ON: Final[dict[str, tuple[tuple[tuple[AbstractRule, ...], ...], tuple[AbstractPostproc, ...]]]] = {
    "cpu": (_ATTEMPTS, CPU_POSTPROCS),
    "cuda": (GPU_ATTEMPTS, GPU_FINISH),
    "opencl": (GPU_ATTEMPTS, GPU_FINISH),
}


def default_schedule(program: Program, target: Target) -> Schedule:
    """Schedule a program without tuning: tiled, parallel and vectorised as far as it allows.

    On a GPU every nest is bound to blocks and threads. Works for every program, symbolic sizes
    included: where a step is refused, simpler ones are tried, down to the program as it is.
    """
    attempts, postprocs = _ON.get(target.kind, _ON["cpu"])
    for rules in attempts:
        try:
            for draft in drafts(program, rules, target):
                result = postprocess(draft, postprocs, target)
                if not isinstance(result, Rejected):
                    return result
        except MetaschedError:
            continue
    return Schedule(program)
