"""The apply rules: what a store knows of an object after a page has told something of it.

**A copy gives at once, and takes away at its end.** A copy is read over the rows of the one before, in any order, and
perhaps by several runs. So a sight of an object in a copy brings values and makes the object active. It removes
nothing: what a copy leaves out, and what it calls removed, is remembered with the object. The transaction that stores
the delta link of the copy takes all of it away, and there a guard can still hold it back. A reader never sees an object
or a value vanish and return.

| a page tells | in a round of changes | in a copy |
|---|---|---|
| an object | it is active, and seen by this attempt | the same, and a removal that this copy told is lifted |
| a value | it is stored | the same |
| null | it is stored | it counts as left out |
| nothing of a property | the value stays | the first sight marks it as left out |
| a removal | it is applied; what is purged leaves a tombstone | it is remembered |

A tombstone has no values. Its own stream alone lifts it: the replay of another stream must not bring the object back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.core.directory.delta import Change, ColumnValue, ObjectState


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The stored state of an object.

    Args:
        state: what readers see.
        generation: the attempt that saw the object last.
        values: by the name of the column; a column that is null may be absent.
        removed_as: the state that the copy under way has told, if that is a removal.
        left_out: the columns with a value that the copy under way has left out so far, or that the last one left out
            and that are held back.
    """

    state: ObjectState
    generation: int
    values: Mapping[str, ColumnValue] = field(default_factory=dict)
    removed_as: ObjectState | None = None
    left_out: frozenset[str] = frozenset()


def told(known: Known | None, change: Change, *, generation: int, is_copy: bool) -> Known:
    """Return what is known of an object after one change.

    Args:
        known: what was known before; None of an object that the store does not have.
        change: what a page tells.
        generation: the number of this attempt.
        is_copy: whether the attempt is a copy.
    """
    if known is None:
        values = {name: value for name, value in change.values.items() if value is not None}
        return Known(state=change.state, generation=generation, values=values)
    if not is_copy:
        if change.state is ObjectState.ACTIVE:
            return Known(
                state=change.state,
                generation=generation,
                values={**known.values, **change.values},
                left_out=known.left_out - change.values.keys(),
            )
        gone = change.state is ObjectState.PURGED
        return Known(
            state=change.state,
            generation=generation,
            values={} if gone else known.values,
            left_out=frozenset() if gone else known.left_out,
        )
    left_out = known.left_out
    if known.generation != generation:
        left_out = frozenset(name for name, value in known.values.items() if value is not None)
    if change.state is not ObjectState.ACTIVE:
        return replace(known, generation=generation, removed_as=change.state, left_out=left_out)
    given = {name: value for name, value in change.values.items() if value is not None}
    cleared = {name for name in change.values.keys() - given.keys() if known.values.get(name) is not None}
    return Known(
        state=ObjectState.ACTIVE,
        generation=generation,
        values={**known.values, **given},
        left_out=(left_out | cleared) - given.keys(),
    )


ALWAYS_BELIEVED = 500
"""A copy may take away this many of a kind, or a tenth of it if that is more."""
SMALL = 20
"""Below this many a copy may take away more than half, but not all."""


def is_too_much(*, lost: int, total: int) -> bool:
    """Return whether a copy lost more objects of a kind than is believed.

    An answer that was cut, or empty, is more likely than such a loss.
    """
    too_few_left = lost == total or (total >= SMALL and lost > total / 2)
    return lost > 0 and (lost > max(ALWAYS_BELIEVED, total / 10) or too_few_left)


def is_withheld(*, lost: int, given: int, total: int) -> bool:
    """Return whether a permission to read a property was taken away, rather than every value of it.

    Args:
        lost: objects of the copy that had a value, and have none in it.
        given: objects that have one in it.
        total: objects of the copy.
    """
    return given == 0 and lost >= SMALL and lost * 2 >= total
