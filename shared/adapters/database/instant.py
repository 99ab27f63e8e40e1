"""Instants in a database: one fixed form of text, so that readers can compare and sort them."""

from datetime import UTC, datetime

from sqlalchemy import Dialect, String
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[float]):
    """Seconds since the epoch here, and in SQLite text such as 2027-01-15T08:00:00.000000Z."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy's
        """Write an instant."""
        if value is None:
            return None
        # Not strftime: it writes the year 1 with one digit.
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def process_result_value(self, value: str | float | None, dialect: Dialect) -> float | None:  # noqa: ARG002  # SQLAlchemy's
        """Read an instant. A database that is not migrated yet, of before version 2, has seconds."""
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
