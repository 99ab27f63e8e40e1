"""SQLite: how a connection is set up, how a transaction begins, and INSERT ... ON CONFLICT."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite

insert = sqlite.insert
"""INSERT with ON CONFLICT, which SQLAlchemy has for each dialect alone."""


def make_engine(url: str) -> Engine:
    """Return an engine; nothing is opened before its first connection."""
    engine = create_engine(url)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401  # the driver's own class
    """Let readers read while a writer writes. A commit survives the end of the process in every mode."""
    connection.isolation_level = None  # the driver would begin transactions late, and end one at each CREATE
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """Begin as a writer: a transaction that reads first, and writes later, fails if another one wrote in between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
