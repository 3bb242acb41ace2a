"""unannotate: a note removed from a loop or block."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.stmt import HIDDEN, annotation, with_annotation
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def unannotate(state: State, block_or_loop: str, ann_key: str) -> tuple[State, tuple[str, ...]]:
    """Remove the annotation of a key from a block or loop.

    Args:
        state: where to apply.
        block_or_loop: what to change.
        ann_key: the key.

    Requires:
        - an annotation of that key
        - a key that does not say what the regions of a block leave out

    ::

        for i in serial(4, {"key": 1}):  ->  for i in serial(4):
    """
    target = state.node(block_or_loop, "unannotate")
    if annotation(target.annotations, ann_key) is None:
        keys = [key for key, _ in target.annotations]
        raise refused(
            state, "unannotate", "an annotation of that key", f"none of '{ann_key}'",
            at=block_or_loop, hint=f"its annotations are {', '.join(keys)}" if keys else "",
        )  # fmt: skip
    if ann_key == HIDDEN:
        rule = "a key that does not say what the regions of a block leave out"
        hint = "what is hidden is listed again when a primitive rewrites the block's body"
        raise refused(state, "unannotate", rule, f"'{HIDDEN}'", at=block_or_loop, hint=hint)
    notes = with_annotation(target.annotations, ann_key, None)
    return state.replace(target, replace(target, annotations=notes)), ()


PRIMITIVES.register("unannotate", Primitive("unannotate", unannotate))
