"""The usual remedy for each rule whose refusal does not know a better one at its place.

Keys are the rules as *Requires* lists word them, so that what several primitives require has one
remedy; `refusal.refused` looks here where it is given no hint.
"""

from __future__ import annotations

from typing import Final

_SPLIT: Final = "split the loop by a divisor of its extent, so that no iteration is left over"
_ORDER: Final = "change loops and stage buffers first, and move blocks afterwards"
_INLINE: Final = "compute_inline works on elementwise stages; use compute_at to move others"

REMEDIES: Final[dict[str, str]] = {
    # loops
    "at least one factor": "give the new extents, one of them None to have it computed",
    "every factor at least 1": "give None for a factor to have it computed",
    "a thread axis": "give blockIdx, threadIdx or vthread with .x, .y or .z",
    "affine bindings of the loop": "bind a loop that iterations are linear in",
    "an extent that is known when the kernel starts": "bind the loop that the extent depends on",
    "one extent of all loops on an axis in a kernel": "split them by the same number of threads",
    "no loop inside another of the same axis": "bind it to another axis, .y or .z",
    "loops in nests of one sequence": "give one loop of each nest, all in the same block",
    "loops at the same depth of their nests": "add_unit_loop makes a nest deeper",
    "loops of the same extent": "split them so that the loops to merge run equally often",
    # handles and buffers
    "a known storage scope": "for plain memory it is 'global'",
    "an index or the name of a buffer that the block": "the block's reads and writes list them",
    "an axis of the buffer": "axes count from 0, or from -1 for the last",
    "a factor of at least 1": "give the number of elements that the stride is a multiple of",
    "an offset from 0 to below the factor": "an offset of the factor or more is one of the rest",
    # caches
    "a block that writes every element of a box": _SPLIT,
    "a block without loops or blocks inside": "take one of its get_child_blocks",
    "a buffer that the block accesses at one place": "use cache_read, which keeps the indices",
    "consumers that read": "name blocks of get_consumers, or none",
    "indices that read nothing": "use it before cache_index, or cache_read instead",
    "a block that writes one element in each of its iterations": "use cache_write",
    "positions of the block's iterations": "count the iterations from 0",
    "a place of its own for each of the iterations": "let the map name each of them",
    "a place that depends on no further iterations": "leave reduce iterations out of the map",
    "a buffer that is finished before the first statement in the loop that reads it": (
        "use a loop further inside"
    ),
    "a loop around the block in its scope": "take one of its get_loops",
    "a first block that makes": "use a loop further outside, which holds whole results",
    # placement
    "a loop in the scope of the block": "take a loop of a block beside it",
    "a loop that is not around the block": "take a loop of another block",
    "a complete block or a reduction": "a block that others write into stays where it is",
    "a predicate over the iterations of the block": _SPLIT,
    "a block whose result is not an output": "use cache_write to make it an intermediate",
    "a loop around all consumers of the block": "take one around all, or move them there first",
    "an index between the last producer and the first consumer": "leave the index out",
    "producers that have finished what the block reads": "use a loop further outside",
    "consumers for which the block has finished what they read": "use a loop further outside",
    "a loop around a producer of the block": "take one of the get_loops of its producer",
    "a producer that makes all that the block reads": _SPLIT,
    "a complete block": _INLINE,
    "a block whose result is read": "a result that nobody reads needs no block",
    "a single store at the block's own iterations": _INLINE,
    "a single store in both blocks": _INLINE,
    "a block without a condition": _SPLIT,
    "blocks without conditions": _SPLIT,
    "a block that reads one producer's result": "compute_inline its other producers first",
    "a producer whose result only this block reads": "use compute_at instead",
    "a read of the producer's result that can be inverted": "use reverse_compute_at instead",
    # reductions
    "a reduction block": "take a block with an init and reduce iterations",
    "a loop around the block": "take one of its get_loops",
    "loops that drive either spatial or reduce iterations": "reduce before loops are fused",
    "loops inside a reduction that drive either": "blockize before loops are fused",
    "reduce iterations that start at zero": "an init runs where they are zero",
    "a loop that drives only reduce iterations": "take a loop of the reduction itself",
    "reduce loops that drive no spatial iteration": "use rfactor before loops are fused",
    "a predicate over loops that drive iterations": _ORDER,
    "a single sum, product, maximum or minimum": "others have no identity to start parts from",
    "a factor_axis among the dimensions of the partial results": "0 puts the parts first",
    # blocks
    "predicates over loops outside that all blocks share": _SPLIT,
    "reduce loops outside that all blocks with an init share": "decompose_reduction takes it apart",
    "results of reductions that no block before them touches": "blockize the reduction alone",
    "blocks of one scope": "take blocks beside each other",
    "extents and conditions inside that do not depend on loops outside": "use a loop further out",
    "the name of a registered intrinsic": "register it with metasched.target.intrinsics",
    "a block around loops and a single block": "blockize the loops first",
    "a single store, without an init or a predicate": "decompose_reduction, and split exactly",
    "loops that run through the tile once": "split loops to the tile of the intrinsic first",
    "what the description of the intrinsic computes": "the intrinsic's description shows it",
    "vectors whose lanes lie in memory": "cache_read the operand in the layout it needs",
    # memory
    "the name of a scalar dtype": "such as 'float32' or 'int8'",
    "a buf_type that is 'read' or 'write'": "it says which of the block's regions are meant",
    "indices of buffers that the block": "the block's reads and writes list them, from 0",
    "a map of the block's iterations to a begin and an end": "write it as 'i, j -> [i, i + 1]'",
    "ranges that are not empty": "the end is the first index that is left out",
    "ranges that hold what the block certainly accesses": "a promise may be wide, never narrow",
    "a block that writes this buffer only": "give each buffer a block of its own",
    "blocks without blocks inside": "roll buffers before blockize",
    "a buffer that some block behind the producer reads": "take a block that others read",
    "readers that need no more than the same iteration makes": "use compute_at first",
    "windows of a fixed size that are made completely": _SPLIT,
    "serial or unrolled loops from the rolling one on": "roll before parallel and vectorize",
    # epilogues
    "a complete block as epilogue": "take an elementwise block beside the reduction",
    "an epilogue that reads the result of the reduction": "take one of its get_consumers",
    "a result that only the epilogue reads": "use reverse_compute_at instead",
    "an epilogue that takes the elements of the result one by one": "use reverse_compute_at",
    "results of one dtype": "cast behind the epilogue, in a block of its own",
    "a reduction that runs each iteration once": _ORDER,
    "other operands of the epilogue that are finished": _ORDER,
    # layouts
    "an index map to indices of a known range": "bound them with % or //",
    "a map into a shape that is known": "give constants where sizes are symbolic",
    "a block that stores if_then_else": "take the block that pads, before it is inlined",
    "a condition and a padding that load nothing": "pad with a constant",
    "loops that run each iteration of the block once": _ORDER,
    "a factor of at least 1 for each iteration": "1 leaves an iteration as it is",
    "a block that stores one value": "give each value a block of its own",
    "accesses indexed by iterations and constants": "pad products, before loops become windows",
    "padded spatial iterations that index the result": "give the others a factor of 1",
    "no division by what is loaded": "give the iteration a factor of 1",
    "a sum of products": "give the reduce iterations a factor of 1",
    "a pad value": "give a number that the dtype holds, or a map such as 'i, j -> [0]'",
    "loops around the block alone": _ORDER,
    "a loop of its own for each iteration": _ORDER,
    "loops of fixed extents": "take a block whose loops do not depend on each other",
    "an index map": "write it as 'i, j -> [j, i]'",
    "a block without opaque iterations": "opaque iterations stay in their order",
    "a map that keeps a reduce iteration": "decompose_reduction first",
    "new iterations that are either spatial or reduce": "map the two kinds apart",
}


def remedy(rule: str) -> str:
    """The remedy of the longest key that a rule begins with; empty where there is none."""
    known = (key for key in REMEDIES if rule.startswith(key))
    return REMEDIES.get(max(known, key=len, default=""), "")
