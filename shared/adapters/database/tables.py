"""The tables and views of the directory copy, derived from the declaration of the streams.

| table | one row for each |
|---|---|
| `schema_version` | database: the version that wrote it, see `migration.py` |
| `sync_stream` | tenant and stream: its checkpoint and its lease |
| `directory_object` | tenant and object: its number here, its state, when both changed, the attempt that saw it last |
| `edge` | relationship between two objects, such as member and owner |
| `credential` | certificate or secret of an object: its name and dates, and never a key |
| `directory_<kind>` | object of a stream: the columns that the stream declares |
| view `active_<stream>` | object that a reader should see |
| view `group_members` | direct member of an active group |
| view `expiring_credentials` | certificate or secret of an object that a reader should see |
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Executable,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.ddl import CreateView

from shared.adapters.database.instant import Instant
from shared.core.directory.delta import ObjectState
from shared.core.directory.streams import Lookup, Stream

_FIXED = MetaData()
_NUMBER = Integer().with_variant(BigInteger(), "postgresql")
"""Of an object. SQLite counts in 64 bits anyway, and by this name alone never uses a number again."""
# Every version of vend reads the columns of this table in every other version: they keep their names and types.
SCHEMA_VERSION = Table(
    "schema_version",
    _FIXED,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("writable_by", Integer, nullable=False),
    Column("declaration", String(64), nullable=False),
)
SYNC_STREAM = Table(
    "sync_stream",
    _FIXED,
    Column("tenant_id", String(36), primary_key=True),
    Column("stream", String(32), primary_key=True),
    Column("fingerprint", String(64)),
    Column("generation", Integer, nullable=False),
    Column("is_copying", Boolean, nullable=False),
    Column("link", String),
    Column("page", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Instant),
    Column("complete_at", Instant),
    Column("bin_judged_at", Instant),
    # `Progress` of `core/directory/checkpoint.py`.
    Column("objects", Integer, nullable=False),
    Column("most_objects", Integer, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("idle_pages", Integer, nullable=False),
    Column("empty_pages", Integer, nullable=False),
    Column("refused_at", Instant),
    Column("retry_at", Instant),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("again_at", Instant),
    Column("error", String),
    # Of the last complete copy: its number, and what it lost that is not believed, as JSON.
    Column("copied", Integer),
    Column("held", String),
)
DIRECTORY_OBJECT = Table(
    "directory_object",
    _FIXED,
    # A number of our own, which is never used again: relations between objects refer to it, and there are many times
    # more of them.
    Column("object", _NUMBER, Identity(), primary_key=True),
    Column("tenant_id", String(36), nullable=False),
    Column("id", String(36), nullable=False),
    Column("stream", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("state_changed_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    # The attempt that saw the object last, and what a copy under way will take away: see `core/directory/rules.py`.
    Column("generation", Integer, nullable=False),
    Column("removed_as", String(8)),
    Column("left_out", String),
    # The tenant is never first: SQLite would rather read all objects of a tenant than search a column.
    Index("directory_object_id", "id", "tenant_id", unique=True),
    Index("directory_object_stream", "stream", "tenant_id", "generation"),
    sqlite_autoincrement=True,
)
EDGE = Table(
    "edge",
    _FIXED,
    Column("kind", String(8), primary_key=True),
    # Numbers of objects: `src` has the relationship, `dst` is at its other end.
    Column("src", _NUMBER, primary_key=True, autoincrement=False),
    Column("dst", _NUMBER, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
    Index("edge_dst", "dst", "kind", "src"),
    sqlite_with_rowid=False,
)
CREDENTIAL = Table(
    "credential",
    _FIXED,
    Column("object", _NUMBER, primary_key=True, autoincrement=False),
    # One certificate for signing has two entries of other kinds with one id.
    Column("kind", String(8), primary_key=True),
    Column("key_id", String(36), primary_key=True),
    Column("name", String),
    Column("thumbprint", String),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("generation", Integer, nullable=False),
    # Within how many days of its end somebody was told of it last.
    Column("told_days", Integer),
    Index("credential_ends_at", "ends_at"),
)
_TYPES = {str: String, bool: Boolean}


class Schema:
    """The tables and views of some streams.

    Args:
        streams: the declarations.

    Attributes:
        rows: by the name of the stream, the table of its columns.
        tables: every table.
        views: the statement that makes each view.
    """

    def __init__(self, streams: Iterable[Stream]) -> None:
        streams = list(streams)
        self.rows = {stream.name: _row_table(stream) for stream in streams}
        self.tables = (SCHEMA_VERSION, SYNC_STREAM, DIRECTORY_OBJECT, EDGE, CREDENTIAL, *self.rows.values())
        self.views = [*(_view(stream, self.rows[stream.name]) for stream in streams), _group_members()]
        if with_credentials := [stream for stream in streams if stream.credentials]:
            self.views.append(_expiring_credentials(with_credentials, self.rows))

    @cached_property
    def digest(self) -> str:
        """A digest of every table, index and view: two schemas with one digest are the same."""
        statements: list[Executable] = [CreateTable(table) for table in self.tables]
        statements += [CreateIndex(index) for table in self.tables for index in indexes(table)]
        text = "\n".join(str(statement) for statement in (*statements, *self.views))
        return hashlib.sha256(text.encode()).hexdigest()


def indexes(table: Table) -> list[Index]:
    """Return the indexes of a table in the order of their names; SQLAlchemy has them in a set."""
    return sorted(table.indexes, key=lambda index: str(index.name))


def visible(stream: Stream, table: Table) -> ColumnElement[bool]:
    """Return which objects of a stream a reader should see: those that are neither deleted nor disabled."""
    # IS NOT false: an object is enabled if Graph has not said so.
    enabled = true() if stream.enabled_by is None else table.c[stream.enabled_by].is_not(False)  # SQL
    return and_(DIRECTORY_OBJECT.c.state == ObjectState.ACTIVE.value, enabled)


def _row_table(stream: Stream) -> Table:
    """Return the table of a stream. Its columns allow null: Graph may leave out every property."""
    table = Table(
        stream.table,
        MetaData(),
        Column("object", _NUMBER, primary_key=True, autoincrement=False),
        *(Column(column.name, _TYPES[column.kind]) for column in stream.properties.values()),
    )
    for column in stream.properties.values():
        match column.lookup:
            case Lookup.EXACT:
                Index(f"{stream.table}_{column.name}", table.c[column.name])
            case Lookup.ANY_CASE:
                Index(f"{stream.table}_{column.name}", func.lower(table.c[column.name]))
            case None:
                pass
    return table


def _view(stream: Stream, table: Table) -> CreateView:
    """Return the view for readers: objects that are neither deleted nor disabled."""
    return CreateView(
        select(
            *(DIRECTORY_OBJECT.c[name] for name in ("tenant_id", "id", "changed_at", "state_changed_at")),
            *(column for column in table.c if column.name != "object"),
        )
        .join_from(table, DIRECTORY_OBJECT, table.c.object == DIRECTORY_OBJECT.c.object)
        .where(visible(stream, table)),
        stream.view,
    )


def _group_members() -> CreateView:
    """Return the view of direct memberships: not of deleted groups, and not of deleted members."""
    group, member = DIRECTORY_OBJECT.alias("directory_group_object"), DIRECTORY_OBJECT.alias("member")
    present = (ObjectState.ACTIVE.value, ObjectState.STUB.value)
    return CreateView(
        select(
            group.c.tenant_id,
            group.c.id.label("group_id"),
            member.c.id.label("member_id"),
            member.c.stream.label("member_stream"),
        )
        .join_from(EDGE, group, group.c.object == EDGE.c.src)
        .join(member, member.c.object == EDGE.c.dst)
        .where(EDGE.c.kind == "member", group.c.state == ObjectState.ACTIVE.value, member.c.state.in_(present)),
        "group_members",
    )


def _expiring_credentials(streams: Sequence[Stream], rows: Mapping[str, Table]) -> CreateView:
    """Return the view of the credentials of what a reader should see, also of those that have ended or never end."""
    names = ("kind", "key_id", "name", "thumbprint", "starts_at", "ends_at")
    parts = [
        select(
            DIRECTORY_OBJECT.c.tenant_id,
            DIRECTORY_OBJECT.c.stream,
            DIRECTORY_OBJECT.c.id,
            rows[stream.name].c.app_id,
            rows[stream.name].c.display_name,
            *(CREDENTIAL.c[name] for name in names),
        )
        .join_from(CREDENTIAL, DIRECTORY_OBJECT, DIRECTORY_OBJECT.c.object == CREDENTIAL.c.object)
        .join(rows[stream.name], rows[stream.name].c.object == CREDENTIAL.c.object)
        .where(visible(stream, rows[stream.name]))
        for stream in streams
    ]
    return CreateView(union_all(*parts), "expiring_credentials")
