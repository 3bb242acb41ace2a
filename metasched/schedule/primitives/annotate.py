"""annotate: a note on a loop or block."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from metasched.ir.expr import Const, Expr
from metasched.ir.stmt import AnnotationValue, annotation, with_annotation
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def annotate(
    state: State, block_or_loop: str, ann_key: str, ann_val: AnnotationValue | Expr
) -> tuple[State, tuple[str, ...]]:
    """Note a key and a value on a block or loop.

    Args:
        state: where to apply.
        block_or_loop: what to annotate.
        ann_key: the key.
        ann_val: a number, a text, an integer handle, or a tuple of them, maybe nested; a
            dictionary becomes a tuple of its pairs. A choice that is still symbolic is kept as an
            expression, which nothing but the cost model reads.

    Requires:
        - no annotation of that key

    ::

        for i in serial(4):          ->  for i in serial(4, {"key": 1}):
    """
    target = state.node(block_or_loop, "annotate")
    if (old := annotation(target.annotations, ann_key)) is not None:
        raise refused(
            state, "annotate", "no annotation of that key", f"'{ann_key}' of value {old!r}",
            at=block_or_loop, hint="remove it with unannotate",
        )  # fmt: skip
    notes = with_annotation(target.annotations, ann_key, _plain(ann_val))
    return state.replace(target, replace(target, annotations=notes)), ()


def _plain(value: AnnotationValue | Expr) -> AnnotationValue:
    """A value with the numbers of integer handles in place."""
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return cast(AnnotationValue, value.value if isinstance(value, Const) else value)


PRIMITIVES.register("annotate", Primitive("annotate", annotate))
