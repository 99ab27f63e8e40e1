"""Instants in a database: `timestamptz`, or in SQLite one fixed form of text, so that readers can compare and sort."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine

DIFFERENT = 1_024
"""How many instants are remembered in their other form: the rows of a page have the same few."""


@lru_cache(DIFFERENT)
def _written(seconds: float) -> str:
    # Not strftime: it writes the year 1 with one digit.
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@lru_cache(DIFFERENT)
def _read(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Instant(TypeDecorator[float]):
    """Seconds since the epoch here, and in SQLite text such as 2027-01-15T08:00:00.000000Z."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the database calls it."""
        return DateTime(timezone=True) if dialect.name == "postgresql" else String(27)

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | str | None:
        """Write an instant."""
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC) if dialect.name == "postgresql" else _written(value)

    def process_result_value(self, value: datetime | str | float | None, dialect: Dialect) -> float | None:  # noqa: ARG002  # SQLAlchemy's
        """Read an instant. A database that is not migrated yet, of before version 2, has seconds."""
        if isinstance(value, str):
            return _read(value)
        return value.timestamp() if isinstance(value, datetime) else value
