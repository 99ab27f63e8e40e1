"""Instants in a database: one fixed form of text, so that readers can compare and sort them."""

from datetime import UTC, datetime

from sqlalchemy import Dialect, String
from sqlalchemy.types import TypeDecorator

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


class Instant(TypeDecorator[float]):
    """Seconds since the epoch here, and in SQLite text such as 2027-01-15T08:00:00.000000Z."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy's
        """Write an instant."""
        return None if value is None else datetime.fromtimestamp(value, UTC).strftime(_FORM)

    def process_result_value(self, value: str | None, dialect: Dialect) -> float | None:  # noqa: ARG002  # SQLAlchemy's
        """Read an instant."""
        return None if value is None else datetime.strptime(value, _FORM).replace(tzinfo=UTC).timestamp()
