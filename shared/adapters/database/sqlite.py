"""SQLite: how a connection is set up, how a transaction begins, and what its errors mean."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from shared.adapters.database.database import Database
from shared.core.errors import Unavailable

_COPY_ANEW = "move the file away, and the next run copies anew"
REMEDIES: Mapping[str, str] = {
    "BUSY": "end the process that keeps a transaction open on the file",
    "CANTOPEN": "make the folder of the file, and let the app write there",
    "CORRUPT": f"the file is damaged: {_COPY_ANEW}",
    "ERROR": f"the tables are not those of this version: {_COPY_ANEW}",
    "FULL": "make room on the disk of the file",
    "IOERR": "look at the disk of the file; a network share is no place for it",
    "NOTADB": f"the file is no database: {_COPY_ANEW}",
    "PERM": "let the app write the file and its folder",
    "READONLY": "let the app write the file and its folder",
}
"""By the name of a primary error code without its prefix: https://sqlite.org/rescode.html."""


def in_file(file: Path) -> Database:
    """Return the database in a file; nothing is opened before its first connection."""
    return Database(engine=_make_engine(file), is_there=file.exists, name_of=_name_of, remedy_for=_remedy_for)


def _name_of(error: BaseException) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))


def _remedy_for(name: str) -> str | None:
    """Return what to do about an error by its name, which may be that of an extended code."""
    return REMEDIES.get(name.removeprefix("SQLITE_").partition("_")[0])


def fold(file: Path) -> None:
    """Make a database that nobody has open one file: without a WAL beside it, or a mark that there may be one.

    A reader of the file alone would miss what is in the WAL, and Python's `deserialize` refuses a file with the mark.

    Raises:
        Unavailable: SQLite did not do so.
    """
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error as error:
        name = _name_of(error)
    else:
        if not busy and mode == "delete":
            return
        name = "BUSY"
    raise Unavailable(cause=f"the store failed: {name}", remedy=_remedy_for(name))


def _make_engine(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)))
    event.listen(engine, "do_connect", _keep_private)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _keep_private(_dialect: object, _record: object, arguments: list[str], _more: object) -> None:
    """Make the file so that its owner alone reads it, or close an older one to others: the directory is personal data.

    SQLite gives the mode of the file to the files beside it. Whatever fails here fails there too, and has a name.
    """
    file = Path(arguments[0])
    with suppress(OSError):
        try:
            file.touch(0o600, exist_ok=False)
        except FileExistsError:
            file.chmod(file.stat().st_mode & 0o770)


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401  # the driver's own class
    """Let readers read while a writer writes. A commit survives the end of the process in every mode."""
    connection.isolation_level = None  # the driver would begin transactions late, and end one at each CREATE
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"):
            connection.execute(f"PRAGMA {pragma}")
    except Exception:
        connection.close()  # SQLAlchemy does not, before a connection is set up
        raise


def _begin(connection: Connection) -> None:
    """Begin as a writer: a transaction that reads first, and writes later, fails if another one wrote in between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
