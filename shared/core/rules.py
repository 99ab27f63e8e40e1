"""How a rule of a document looks at values of which some could not be read.

A mistake must not hide another one. So every rule is applied, each to the values that it is about, and a value that
could not be read breaks none: its own mistake is told already.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

NOTHING: Any = object()
"""Stands for a value that has a mistake; no document that holds one is ever used."""


def breaks(rule: Callable[..., object], *values: Any) -> bool:  # noqa: ANN401  # of any field
    """Return whether values that could be read break a rule, which returns something false for them."""
    return not any(value is NOTHING for value in values) and not rule(*values)


def items[T](values: Collection[T]) -> Iterator[tuple[int, T]]:
    """Return the items of a list that could be read, each with its number."""
    if values is not NOTHING:
        yield from ((index, value) for index, value in enumerate(values) if value is not NOTHING)


def tables[T](named: Mapping[str, T]) -> Mapping[str, T]:
    """Return the tables that could be read, by their names."""
    return {} if named is NOTHING else {name: table for name, table in named.items() if table is not NOTHING}


def is_whole(table: Any) -> bool:  # noqa: ANN401  # of any shape
    """Return whether all values of a table could be read."""
    return table is not NOTHING and not any(getattr(table, field.name) is NOTHING for field in fields(table))
