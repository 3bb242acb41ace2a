"""transform_layout: a buffer laid out anew, with padding where the map leaves some."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metasched.errors import UsageError
from metasched.ir.expr import FALSE
from metasched.ir.stmt import Block
from metasched.schedule.primitives.new_layout import NewLayout
from metasched.schedule.primitives.padding_fill import Padding, pad_expr, with_padding
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.plain_nest import read_map
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import access_of
from metasched.schedule.state import State


def transform_layout(
    state: State,
    block: str,
    buffer: str | tuple[str | int, ...],
    index_map: str,
    *,
    pad_value: int | float | str | None = None,
    assume_injective_transform: bool = False,
) -> tuple[State, tuple[str, ...]]:
    """Lay a buffer out anew: element ``i`` goes to ``index_map(i)``, wherever it is used.

    Loops and iterations stay as they are, with one exception: where a plain nest of a block that
    just computes the whole buffer makes padding, it runs over the new shape and stores the padding
    along. In other programs a nest behind the writers fills the padding.

    A parameter may be transformed as well. That changes what the program takes: the new shape is
    in ``schedule.program.params``, ``IndexMap.map_array`` packs an array for it, and ``pad_value``
    is then a promise of the caller on the padding of inputs. ``ms.compile(schedule)`` gives a
    kernel that takes the new layout; a record of the program is refused if its trace transforms a
    parameter, since whoever looks it up passes the original layout.

    Args:
        state: where to apply.
        block: a block that uses the buffer.
        buffer: ``("read", index)``, ``("write", index)`` or the name of the buffer.
        index_map: from the indices of the buffer to the new ones, as
            ``"i, j -> [i // 4, j, i % 4]"`` or a function. Axis separators are refused: every
            buffer is flat in memory.
        pad_value: what padding holds: a number, or a map from the new indices to it, as
            ``"i, j, k -> [i + k]"``. Without it the map may leave no padding.
        assume_injective_transform: promise that no two elements get one place, for maps whose
            inverse cannot be found.

    Requires:
        - "read" or "write" with an index, or a name
        - an index or the name of a buffer that the block reads (or writes)
        - a buffer without padded strides
        - an index map
        - an index map with one index for each dimension
        - a map into a shape that is known
        - a map that gives each element a place of its own
        - a pad value where the map leaves padding
        - a pad value that the buffer can hold

    ::

        for i in serial(30):             ->  for i in serial(30):
            b[i] = a[i] * 2                      b[i // 4, i % 4] = a[i] * 2
        for i in serial(30):                 for i in serial(30):
            c[i] = b[i] + 1                      c[i] = b[i // 4, i % 4] + 1

        # with pad_value=0                   for ax0, ax1 in grid(8, 4):
                                                 b[ax0, ax1] = if_then_else(
                                                     ax0 * 4 + ax1 < 30, a[ax0 * 4 + ax1] * 2, 0)
    """
    target = state.block(block, "transform_layout")
    change = _check(target, buffer, index_map, pad_value, assume_injective_transform)
    if isinstance(change, Refusal):
        raise change.error(state, "transform_layout")
    return change.applied(state), ()


@dataclass(frozen=True, slots=True)
class _Change:
    """A buffer, its new layout, and the padding to fill."""

    layout: NewLayout
    padding: Padding | None

    def applied(self, state: State) -> State:
        done = self.layout.applied(state)
        if self.padding is None:
            return done
        return with_padding(state, done, self.layout, self.padding)


def _check(
    block: Block,
    which: str | tuple[str | int, ...],
    text: str,
    pad_value: int | float | str | None,
    assumed: bool,
) -> _Change | Refusal:
    found = access_of(block, which)
    if isinstance(found, Refusal):
        return found
    buffer = found[0].buffer
    if buffer.align:
        hint = "transform_layout before storage_align"
        return Refusal("a buffer without padded strides", f"'{buffer.name}'", buffer.name, hint)
    index_map = read_map(text, len(buffer.shape), "dimension", block.name)
    if isinstance(index_map, Refusal):
        return index_map
    try:
        shape = index_map.map_shape(buffer.shape)
    except UsageError as error:
        return Refusal("a map into a shape that is known", f"{error}", block.name)
    new = replace(buffer, shape=shape)
    value = None if pad_value is None else pad_expr(pad_value, new, block.name)
    if isinstance(value, Refusal):
        return value
    layout = NewLayout(buffer, new, index_map)
    try:
        inverse, where = index_map.non_surjective_inverse(buffer.shape)
    except UsageError as error:
        if assumed and value is None:
            return _Change(layout, None)
        hint = "" if assumed else "assume_injective_transform=True takes it for granted"
        rule = "a map that gives each element a place of its own"
        return Refusal(rule, f"{error}", block.name, hint)
    if where == FALSE:
        return _Change(layout, None)
    if value is None:
        hint = "give pad_value, or choose factors that divide the extents"
        rule = "a pad value where the map leaves padding"
        return Refusal(rule, f"none where {where}", block.name, hint)
    return _Change(layout, Padding(inverse, where, value))


PRIMITIVES.register("transform_layout", Primitive("transform_layout", transform_layout))
