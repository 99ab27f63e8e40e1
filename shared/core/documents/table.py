"""Reads a parsed TOML table into a dataclass, and lists every mistake by its dotted key instead of stopping at one.

The dataclass is the schema. The type of a field is what its key takes; a key with a default may be left out. The method
`mistakes(at)` checks what else must hold. It looks at the values that could be read; the others are `NOTHING`
(`core/rules.py`). A table of one of several kinds is a union of dataclasses, each with `type: ClassVar[str]`: the key
`type` chooses among them. Messages name keys and never values, because a value may have come out of the environment.
"""

import dataclasses
import json
import re
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from shared.core.rules import NOTHING

_WORDS: Mapping[type, str] = types.MappingProxyType(
    {str: "a string", bool: "true or false", int: "a whole number", float: "a number", datetime: "a date and time"}
)
LARGEST = 2**31
"""The largest number, and without its sign the smallest: larger ones have no `float`, or no decimal text."""
LONGEST_KEY = 64
"""Characters of a key that a message names."""
_PLAIN = re.compile(r"[A-Za-z0-9_.*-]+\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Unset:
    """Stands in a document for a string that needs a variable which is not set."""

    variable: str

    def __str__(self) -> str:
        return f"the app setting {self.variable} is not set"


@runtime_checkable
class Checked(Protocol):
    """A table with rules of its own."""

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type; `at` is the table's dotted key."""


def read_table[T](shape: type[T], table: object, *, at: str, mistakes: list[str], **given: object) -> T:
    """Read one table.

    Args:
        shape: the dataclass to make.
        table: what `tomllib` made of it.
        at: its dotted key; "" for the document itself.
        mistakes: what is found wrong is added here.
        given: fields that do not come from the table, such as the table's own name.

    Returns:
        The dataclass; where `mistakes` has grown, fields of it may be `NOTHING`.
    """
    if not isinstance(table, dict):
        mistakes.append(f"{at or 'the document'}: must be a table")
        return NOTHING  # type: ignore[no-any-return]  # see NOTHING
    hints = _hints(shape)  # type: ignore[arg-type]  # mypy does not know that a class is hashable
    fields = {
        field.name: field
        for field in dataclasses.fields(shape)  # type: ignore[arg-type]  # T is a dataclass; typing cannot say so
        if field.name not in given
    }
    mistakes += [f"{dotted(at, key)}: is not a setting" for key in table if key not in fields]
    values: dict[str, object] = dict(given)
    for name, field in fields.items():
        if name in table:
            values[name] = _read(hints[name], table[name], at=dotted(at, name), mistakes=mistakes)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            mistakes.append(f"{dotted(at, name)}: is missing")
            values[name] = NOTHING
    made = shape(**values)
    if isinstance(made, Checked):
        mistakes += made.mistakes(at)
    return made


@cache
def _hints(shape: type) -> Mapping[str, Any]:
    """Return the type of each field; a document can have a thousand tables of one shape."""
    return get_type_hints(shape)


def dotted(at: str, key: str) -> str:
    """Return the dotted key of a key in a table.

    It has no line break and no control character, and no colon: that ends it in a message.

    Args:
        at: dotted key of the table; "" for the document itself.
        key: as the document has it; a long one is cut.
    """
    shown = key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 3]}..."
    if not _PLAIN.match(shown):
        shown = json.dumps(shown).replace(":", "\\u003a")
    return f"{at}.{shown}" if at else shown


def _read(hint: Any, value: object, *, at: str, mistakes: list[str]) -> object:  # noqa: ANN401  # a type form
    origin = get_origin(hint)
    if kinds := kinds_of(hint):
        return _one_of(kinds, value, at=at, mistakes=mistakes)
    if origin is types.UnionType:  # X | None: TOML has no null, so what is there is an X
        hint = next(arm for arm in get_args(hint) if arm is not type(None))
    if origin is tuple:
        return _list(get_args(hint)[0], value, at=at, mistakes=mistakes)
    if origin is Mapping:
        return _named(get_args(hint)[1], value, at=at, mistakes=mistakes)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read_table(hint, value, at=at, mistakes=mistakes)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _choice(hint, value, at=at, mistakes=mistakes)
    return _scalar(hint, value, at=at, mistakes=mistakes)


def kinds_of(hint: Any) -> Mapping[str, type]:  # noqa: ANN401  # a type form
    """Return the dataclasses among which the key `type` chooses, by its value; nothing for any other type form."""
    hint = getattr(hint, "__value__", hint)  # of a `type` statement
    arms = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    return {arm.type: arm for arm in arms if isinstance(getattr(arm, "type", None), str)}


def _one_of(kinds: Mapping[str, type], value: object, *, at: str, mistakes: list[str]) -> object:
    if not isinstance(value, dict):
        mistakes.append(f"{at}: must be a table")
        return NOTHING
    rest = {key: item for key, item in value.items() if key != "type"}
    kind = value.get("type")
    if isinstance(kind, str) and kind in kinds:
        return read_table(kinds[kind], rest, at=at, mistakes=mistakes)
    what = f"must be one of {', '.join(kinds)}" if "type" in value else "is missing"
    mistakes.append(f"{at}.type: {kind if isinstance(kind, Unset) else what}")
    mistakes += _mistakes_of_any(kinds, rest, at=at)
    return NOTHING


def _mistakes_of_any(kinds: Mapping[str, type], table: Mapping[str, object], *, at: str) -> list[str]:
    """List the mistakes of a table whose kind is not known: those that it has as every kind, and what is not set."""
    by_kind: list[list[str]] = []
    for shape in kinds.values():
        by_kind.append([])
        read_table(shape, table, at=at, mistakes=by_kind[-1])
    unset = [f"{dotted(at, key)}: {item}" for key, item in table.items() if isinstance(item, Unset)]
    shared = [mistake for mistake in by_kind[0] if all(mistake in found for found in by_kind)]
    return list(dict.fromkeys([*unset, *shared]))


def _list(hint: Any, value: object, *, at: str, mistakes: list[str]) -> object:  # noqa: ANN401  # a type form
    if not isinstance(value, list):
        mistakes.append(f"{at}: must be a list")
        return NOTHING
    if not value:
        # It looks like nothing, and a list that is left out may mean everything.
        mistakes.append(f"{at}: is empty")
        return NOTHING
    return tuple(_read(hint, item, at=f"{at}[{index}]", mistakes=mistakes) for index, item in enumerate(value))


def _named(hint: Any, value: object, *, at: str, mistakes: list[str]) -> object:  # noqa: ANN401  # a type form
    if not isinstance(value, dict):
        mistakes.append(f"{at}: must be a table")
        return NOTHING
    has_name = any(field.name == "name" for field in dataclasses.fields(hint))
    return {
        name: read_table(hint, item, at=dotted(at, name), mistakes=mistakes, **({"name": name} if has_name else {}))
        for name, item in value.items()
    }


def _choice(hint: type[StrEnum], value: object, *, at: str, mistakes: list[str]) -> object:
    if isinstance(value, Unset):
        mistakes.append(f"{at}: {value}")
        return NOTHING
    for choice in hint:
        if choice.value == value:
            return choice
    mistakes.append(f"{at}: must be one of {', '.join(hint)}")
    return NOTHING


def _scalar(hint: type, value: object, *, at: str, mistakes: list[str]) -> object:
    if hint in {int, float} and isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        mistakes.append(f"{at}: must be a number of at most {LARGEST}")
        return NOTHING
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Unset) and hint is str:
        mistakes.append(f"{at}: {value}")
        return NOTHING
    # bool is a kind of int in Python, and not in TOML.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        mistakes.append(f"{at}: must be {_WORDS[hint]}")
        return NOTHING
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
