"""Tables of cases under tests/data/: each case has an id, and one driver runs them all.

A driver declares the shape of its cases beside it, as a frozen dataclass. A key that the shape does not have, a missing
key and a value of another type are errors, so that no case proves less than it says.
"""

import json
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

DATA = Path(__file__).parent / "data"


class Row(Protocol):
    """A case of any shape."""

    @property
    def id(self) -> str:
        """Its name; the parametrised test shows it."""
        ...


class TableError(Exception):
    """A file does not hold what its drivers declare."""


def case_id(case: Row) -> str:
    """Return the name of a case."""
    return case.id


def cases[Shape: Row](
    file: str,
    shape: type[Shape],
    table: str = "case",
    *,
    beside: Collection[str] = (),
    unique: Callable[[Shape], object] = case_id,
) -> list[Shape]:
    """Read one table of a file.

    Args:
        file: its name.
        shape: the dataclass of a case.
        table: its name.
        beside: what else the file holds: the names of its other tables and keys.
        unique: returns what no other case of the table has too.

    Raises:
        TableError: with every mistake, by file, case and key.
    """
    document = tomllib.loads((DATA / file).read_text())
    if document.keys() != {table, *beside}:
        raise TableError(f"{file}: must hold {sorted({table, *beside})}, and holds {sorted(document)}")
    adapter, found, mistakes = TypeAdapter(shape), dict[object, Shape](), list[str]()
    for row in document[table]:
        at = f"{file}: {table} {row.get('id')!r}"
        try:
            # By way of JSON: in its strict mode pydantic makes a dataclass of a JSON object, and of no dict.
            case = adapter.validate_json(json.dumps(row), strict=True, extra="forbid")
        except ValidationError as error:
            mistakes += [f"{at}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            continue
        if unique(case) in found:
            mistakes.append(f"{at}: another case has this id")
        found[unique(case)] = case
    if mistakes:
        raise TableError("\n".join(mistakes))
    return list(found.values())


def text(file: str, key: str) -> str:
    """Read a text that a file holds beside its cases."""
    found = tomllib.loads((DATA / file).read_text())[key]
    assert isinstance(found, str)
    return found
