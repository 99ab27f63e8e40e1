"""The interface of a database, as the store of the directory needs it."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database.

    Args:
        engine: makes the connections.
        is_there: whether there is one to ask; nobody asks a file that no run has made.
        name_of: returns the database's own name for an error of the driver, of which no value is part.
        remedy_for: returns what to do about an error by its name.
        conflicts: the names of the errors after which a transaction is run again: another run wrote the same rows.
    """

    engine: Engine
    is_there: Callable[[], bool]
    name_of: Callable[[BaseException], str]
    remedy_for: Callable[[str], str | None]
    conflicts: frozenset[str] = frozenset()
