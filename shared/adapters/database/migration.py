"""The schema version: which version of vend may write a database, and how an older database is migrated.

`migrate` runs at the beginning of every run of a stream, inside the transaction that takes the lease:

| the database | `migrate` |
|---|---|
| is of this version, with this declaration | changes nothing |
| is empty, older, or of another declaration | migrates it |
| is newer, and this version may write it | changes nothing: it holds more than this version knows |
| is newer | raises `OperatorError` |

A migration runs the numbered steps, adds each table, column and index that the database lacks, and makes the views
anew. It also raises every fence and frees every lease. A run of the old version that is under way fails at its next
commit, so it stores nothing in tables that it does not know.

What an addition cannot express (a new name, another type, a removal) is a step: SQL that never changes again, of SQLite
and of PostgreSQL. PostgreSQL came with version 3, so no step up to 3 has SQL of its own for it. If a step needs a
column that an earlier version added, write that addition as the step of the earlier version too. A database that is
older than both has no such column yet.

An older version may read and write a newer database (`writable_by`) if the newer one only added what the older one
leaves out. Its rows then have null there. The fingerprint in `sync_stream` makes the newer version copy them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Row, Table, delete, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable
from sqlalchemy.sql.ddl import DropView

from shared.adapters.database.dialect import Step, lock_schema
from shared.adapters.database.tables import SCHEMA_VERSION, SYNC_STREAM, Schema, indexes
from shared.core.errors import OperatorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The schema version of this code.

    Args:
        number: higher than that of any release with another declaration.
        writable_by: the lowest number whose code may write a database of this version.
        steps: by number, what a database of a lower number needs.
    """

    number: int
    writable_by: int
    steps: Mapping[int, Step] = field(default_factory=dict)


# In version 2 the numbers of objects are never used again, an object has the times of its changes, and times are text.
# A run of version 1 would delete objects, to which relations may refer: it may not write.
_VERSION_2 = """
ALTER TABLE directory_object RENAME TO directory_object_1;
CREATE TABLE directory_object (
    object INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id VARCHAR(36) NOT NULL,
    id VARCHAR(36) NOT NULL,
    stream VARCHAR(32) NOT NULL,
    state VARCHAR(8) NOT NULL,
    state_changed_at VARCHAR(27) NOT NULL,
    changed_at VARCHAR(27) NOT NULL,
    generation INTEGER NOT NULL,
    removed_as VARCHAR(8),
    left_out VARCHAR
);
INSERT INTO directory_object (object, tenant_id, id, stream, state, state_changed_at, changed_at, generation)
    SELECT object, tenant_id, id, stream, state, at, at, generation
    FROM directory_object_1 JOIN (
        SELECT object, strftime('%Y-%m-%dT%H:%M:%f000Z', changed_at, 'unixepoch') AS at FROM directory_user
    ) USING (object);
DROP TABLE directory_object_1;
ALTER TABLE directory_user DROP COLUMN changed_at;
ALTER TABLE sync_stream RENAME TO sync_stream_1;
CREATE TABLE sync_stream (
    tenant_id VARCHAR(36) NOT NULL,
    stream VARCHAR(32) NOT NULL,
    fingerprint VARCHAR(64),
    generation INTEGER NOT NULL,
    is_copying BOOLEAN NOT NULL,
    link VARCHAR,
    page INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    lease_until VARCHAR(27),
    complete_at VARCHAR(27),
    bin_judged_at VARCHAR(27),
    objects INTEGER NOT NULL,
    most_objects INTEGER NOT NULL,
    restarts INTEGER NOT NULL,
    idle_pages INTEGER NOT NULL,
    empty_pages INTEGER NOT NULL,
    refused_at VARCHAR(27),
    retry_at VARCHAR(27),
    PRIMARY KEY (tenant_id, stream)
);
INSERT INTO sync_stream (tenant_id, stream, fingerprint, generation, is_copying, link, page, fence, complete_at,
        bin_judged_at, objects, most_objects, restarts, idle_pages, empty_pages)
    SELECT tenant_id, stream, fingerprint, generation, is_copying, link, page, fence,
        strftime('%Y-%m-%dT%H:%M:%f000Z', complete_at, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%f000Z', complete_at, 'unixepoch'), 0, 0, 0, 0, 0
    FROM sync_stream_1;
DROP TABLE sync_stream_1
"""
# Version 3 adds columns and tables alone, which a run of version 2 leaves out.
CURRENT = Version(number=3, writable_by=2, steps={2: Step(sqlite=_VERSION_2.split(";"), postgresql=())})
"""Databases of before 1 have no number. They count as 0."""


def migrate(connection: Connection, schema: Schema, version: Version) -> None:
    """Make the database fit this version, in the transaction of the caller.

    Raises:
        OperatorError: a newer version wrote the database, and this version may not write it.
    """
    if _number_to_migrate(connection, schema, version) is None:
        return
    lock_schema(connection)
    # Again: another run may have migrated it meanwhile.
    if (number := _number_to_migrate(connection, schema, version)) is not None:
        _migrate(connection, schema, version, number)


def _number_to_migrate(connection: Connection, schema: Schema, version: Version) -> int | None:
    """Return the number of a database that needs a migration, and None for another one; errors as in `migrate`."""
    number, writable_by, declaration = _recorded(connection) or (version.number, version.writable_by, "")
    if number > version.number and writable_by > version.number:
        raise OperatorError(
            cause=f"a newer vend wrote this database (schema {number}); this one writes schema {version.number}: "
            "deploy the newer vend again, or remove the database, and the next run copies anew"
        )
    is_ours = number > version.number or (number, declaration) == (version.number, schema.digest)
    return None if is_ours else number


def _migrate(connection: Connection, schema: Schema, version: Version, number: int) -> None:
    # First: SQLite refuses to rename or drop what a view names.
    for view in schema.views:
        connection.execute(DropView(view.table, if_exists=True))
    for step in sorted(version.steps):
        if step > number:
            version.steps[step].run(connection)
    _add_what_is_missing(connection, schema)
    for view in schema.views:
        connection.execute(view)
    connection.execute(update(SYNC_STREAM).values(fence=SYNC_STREAM.c.fence + 1, lease_until=None))
    connection.execute(delete(SCHEMA_VERSION))
    connection.execute(
        insert(SCHEMA_VERSION).values(number=version.number, writable_by=version.writable_by, declaration=schema.digest)
    )


def _recorded(connection: Connection) -> Row[int, int, str] | tuple[int, int, str] | None:
    """Return number, `writable_by` and declaration of the database; None if it is empty."""
    names = inspect(connection).get_table_names()
    if SCHEMA_VERSION.name in names:
        return connection.execute(select(SCHEMA_VERSION)).one()
    return (0, 0, "") if SYNC_STREAM.name in names else None


def _add_what_is_missing(connection: Connection, schema: Schema) -> None:
    inspector = inspect(connection)
    existing = inspector.get_table_names()
    for table in schema.tables:
        if table.name in existing:
            _add_columns(connection, table, {column["name"] for column in inspector.get_columns(table.name)})
        else:
            connection.execute(CreateTable(table))
        for index in indexes(table):
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add_columns(connection: Connection, table: Table, existing: set[str]) -> None:
    name = connection.dialect.identifier_preparer.format_table(table)
    for column in table.columns:
        if column.name not in existing:
            definition = CreateColumn(column).compile(connection)
            connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")
