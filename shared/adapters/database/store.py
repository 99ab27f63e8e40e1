"""The directory in SQL: rows and the link that follows them, in one transaction.

A reader finds each user once and whole in the view `active_users`. A writer that was killed at any point has left all
of a page and the link behind it, or nothing of both: the next one reads the same page again, which does nothing twice.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from shared.core.directory.delta import USERS, BusyError, Change, Link, Page, Place, State, Stream, Value
from shared.core.errors import OperatorError, Unavailable

LEASE_SECONDS = 300.0
"""How long a run may be silent before another takes its place; every page renews it. As long as `functionTimeout` of
host.json lets any run live: one that waits for Graph is silent for minutes."""
ALWAYS_BELIEVED = 500
"""Deletions at the end of a new copy that need no second look, where they are also less than a tenth of all rows."""
SMALL = 20
"""Rows below which a copy may lose half of them."""

_METADATA = MetaData()
_STREAM = Table(
    "sync_stream",
    _METADATA,
    Column("tenant_id", String(36), primary_key=True),
    Column("stream", String(32), primary_key=True),
    Column("fingerprint", String(64)),
    Column("generation", Integer, nullable=False),
    Column("is_copying", Boolean, nullable=False),
    Column("link", String),
    Column("page", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("complete_at", Float),
)
_OBJECT = Table(
    "directory_object",
    _METADATA,
    # A number of our own: relations between objects refer to it, and there are many times more of them.
    Column("object", Integer, primary_key=True),
    Column("tenant_id", String(36), nullable=False),
    Column("id", String(36), nullable=False),
    Column("stream", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("generation", Integer, nullable=False),
    Index("directory_object_id", "tenant_id", "id", unique=True),
    Index("directory_object_stream", "tenant_id", "stream", "generation"),
)
_USER = Table(
    "directory_user",
    _METADATA,
    Column("object", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Boolean if kind is bool else String) for name, kind in USERS.columns.values()),
    Column("changed_at", Float, nullable=False),
)
_ROWS = {USERS.name: _USER}
_ACTIVE_USERS = (
    select(_OBJECT.c.tenant_id, _OBJECT.c.id, *(column for column in _USER.c if column.name != "object"))
    .join_from(_USER, _OBJECT, _USER.c.object == _OBJECT.c.object)
    .where(_OBJECT.c.state == State.ACTIVE.value, _USER.c.account_enabled.is_not(False))  # SQL's
)


class Store:
    """A database that holds the directory.

    Args:
        url: of SQLAlchemy.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def begin(self, stream: Stream, *, tenant_id: str, root: str, now: float) -> Place:
        """Take a stream over, where the last run left it.

        Args:
            stream: which.
            tenant_id: whose.
            root: of Graph, where a copy begins.
            now: seconds since the epoch.

        Raises:
            BusyError: another run is at it.
            Unavailable: the database failed.
        """
        ours = (_STREAM.c.tenant_id == tenant_id) & (_STREAM.c.stream == stream.name)
        with self._transaction() as connection:
            fresh = {"generation": 0, "is_copying": False, "page": 0, "fence": 0, "lease_until": 0.0}
            connection.execute(
                self._insert(_STREAM)
                .values(tenant_id=tenant_id, stream=stream.name, **fresh)
                .on_conflict_do_nothing(index_elements=["tenant_id", "stream"])
            )
            taken = connection.execute(
                update(_STREAM)
                .where(ours, _STREAM.c.lease_until <= now)
                .values(fence=_STREAM.c.fence + 1, lease_until=now + LEASE_SECONDS)
            )
            if taken.rowcount != 1:
                raise BusyError
            row = connection.execute(select(_STREAM).where(ours)).one()
            place = Place(
                tenant_id=tenant_id,
                stream=stream,
                link=row.link or "",
                page=row.page,
                fence=row.fence,
                generation=row.generation,
                is_copying=row.is_copying,
            )
            if row.fingerprint == stream.fingerprint(root):
                return place
            return _begin_copy(connection, place, root, now)

    def reset(self, place: Place, *, root: str, now: float) -> Place:
        """Begin a new copy over the old rows, which readers keep until it is complete; errors as in `commit`."""
        with self._transaction() as connection:
            return _begin_copy(connection, place, root, now)

    def commit(self, place: Place, page: Page, *, now: float) -> tuple[Place, int]:
        """Store a page and the link behind it; tell where the run is now, and how many rows were written.

        Raises:
            BusyError: another run has taken over; nothing was stored.
            OperatorError: a new copy has lost too much to be believed; nothing was stored.
            Unavailable: the database failed; whether it has stored the page shows when it is read again.
        """
        is_complete = page.kind is Link.DELTA
        went_on = replace(place, link=page.link, page=place.page + 1, is_copying=place.is_copying and not is_complete)
        with self._transaction() as connection:
            _move(connection, place, went_on, now, **({"complete_at": now} if is_complete else {}))
            written = self._apply(connection, place, page.changes, now)
            if place.is_copying and is_complete:
                written += _sweep(connection, place)
        return went_on, written

    def release(self, place: Place) -> None:
        """Let another run begin at once."""
        with self._transaction() as connection:
            connection.execute(update(_STREAM).where(*_held_by(place)).values(lease_until=0.0))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _apply(self, connection: Connection, place: Place, changes: Sequence[Change], now: float) -> int:
        active = [change for change in changes if change.state is State.ACTIVE]
        written = self._keep(connection, place, [change.id for change in active])
        found = connection.execute(
            select(_OBJECT.c.id, _OBJECT.c.object).where(
                _OBJECT.c.tenant_id == place.tenant_id, _OBJECT.c.id.in_([change.id for change in active])
            )
        )
        numbers = {row.id: row.object for row in found}
        # One statement for all changes that name the same properties: those that a change leaves out stay as they are.
        alike: dict[tuple[str, ...], list[dict[str, Value | int | float]]] = defaultdict(list)
        for change in active:
            row = {"object": numbers[change.id], "changed_at": now, **change.values}
            alike[tuple(change.values)].append(row)
        for names, rows in alike.items():
            written += self._upsert(connection, _ROWS[place.stream.name], names, rows)
        removed = {change.id: change.state for change in changes if change.state is not State.ACTIVE}
        return written + _remove(connection, place, removed)

    def _keep(self, connection: Connection, place: Place, ids: Sequence[str]) -> int:
        """Note that these objects are there."""
        if not ids:
            return 0
        statement = self._insert(_OBJECT)
        news = {name: statement.excluded[name] for name in ("state", "generation")}
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "id"],
            set_=news,
            where=or_(*(_OBJECT.c[name].is_distinct_from(value) for name, value in news.items())),
        )
        common = {"tenant_id": place.tenant_id, "stream": place.stream.name, "state": State.ACTIVE.value}
        rows = [{"id": oid, "generation": place.generation, **common} for oid in ids]
        return connection.execute(statement, rows).rowcount

    def _upsert(self, connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Any]) -> int:
        """Write rows that differ from what is there; an equal one is not written."""
        statement = self._insert(table)
        if not names:
            statement = statement.on_conflict_do_nothing(index_elements=["object"])
            return connection.execute(statement, rows).rowcount
        statement = statement.on_conflict_do_update(
            index_elements=["object"],
            set_={name: statement.excluded[name] for name in (*names, "changed_at")},
            where=or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in names)),
        )
        return connection.execute(statement, rows).rowcount

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Begin an INSERT in the dialect of the database: ON CONFLICT is not in SQLAlchemy's common one."""
        return postgresql.insert(table) if self._engine.dialect.name == "postgresql" else sqlite.insert(table)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection.execution_options(preserve_rowcount=True)
        except SQLAlchemyError as error:
            failure = Unavailable(cause=f"the store failed: {type(error).__name__}")
        else:
            return
        # Outside of the except block: the original holds the statement and the rows.
        raise failure

    @cached_property
    def _engine(self) -> Engine:
        engine = create_engine(self._url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        with engine.begin() as connection:
            _METADATA.create_all(connection)
            if "active_users" not in inspect(connection).get_view_names():
                view = _ACTIVE_USERS.compile(connection, compile_kwargs={"literal_binds": True})
                connection.exec_driver_sql(f"CREATE VIEW active_users AS {view}")
        return engine


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401  # of the driver, whichever that is
    """Let readers read while a writer writes; what was committed outlives the process in any case."""
    connection.isolation_level = None  # the driver begins transactions late, and ends them at every CREATE
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin for real, as a writer: whoever reads first and writes then may find that another has come in between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_copy(connection: Connection, place: Place, root: str, now: float) -> Place:
    copying = replace(
        place, link=place.stream.first_link(root), generation=place.generation + 1, is_copying=True, page=place.page + 1
    )
    changed = {"generation": copying.generation, "fingerprint": place.stream.fingerprint(root)}
    _move(connection, place, copying, now, **changed)
    return copying


def _move(connection: Connection, place: Place, to: Place, now: float, **values: object) -> None:
    """Go on to another place, if this run is still the one that may."""
    moved = connection.execute(
        update(_STREAM)
        .where(*_held_by(place), _STREAM.c.page == place.page)
        .values(link=to.link, page=to.page, is_copying=to.is_copying, lease_until=now + LEASE_SECONDS, **values)
    )
    if moved.rowcount != 1:
        raise BusyError


def _held_by(place: Place) -> tuple[Any, ...]:
    named = (_STREAM.c.tenant_id == place.tenant_id, _STREAM.c.stream == place.stream.name)
    return (*named, _STREAM.c.fence == place.fence)


def _remove(connection: Connection, place: Place, removed: Mapping[str, State]) -> int:
    """Mark what lies in the recycle bin, and forget what is gone for good; nobody's who was never there."""
    in_bin = [oid for oid, state in removed.items() if state is State.DELETED]
    gone = [oid for oid, state in removed.items() if state is State.PURGED]
    ours = _OBJECT.c.tenant_id == place.tenant_id
    written = 0
    if in_bin:
        marked = {"state": State.DELETED.value, "generation": place.generation}
        differs = or_(*(_OBJECT.c[name].is_distinct_from(value) for name, value in marked.items()))
        found = connection.execute(update(_OBJECT).where(ours, _OBJECT.c.id.in_(in_bin), differs).values(**marked))
        written += found.rowcount
    if gone:
        written += _forget(connection, place, ours & _OBJECT.c.id.in_(gone))
    return written


def _sweep(connection: Connection, place: Place) -> int:
    """Forget what a complete new copy has not found, unless that is more than can be believed (a cut or empty answer).

    Raises:
        OperatorError: it is.
    """
    of_stream = (_OBJECT.c.tenant_id == place.tenant_id) & (_OBJECT.c.stream == place.stream.name)
    unseen = of_stream & (_OBJECT.c.generation < place.generation)
    rows = {}
    for name, which in (("all", of_stream), ("lost", unseen)):
        rows[name] = connection.execute(select(func.count()).select_from(_OBJECT).where(which)).scalar_one()
    lost, total = rows["lost"], rows["all"]
    too_many = lost > max(ALWAYS_BELIEVED, total / 10)
    too_few_left = (total > 0 and lost == total) or (total >= SMALL and lost > total / 2)
    if too_many or too_few_left:
        raise OperatorError(cause=f"{place.stream.name}: a new copy lacks {lost} of {total} rows; nothing was deleted")
    return _forget(connection, place, unseen) if lost else 0


def _forget(connection: Connection, place: Place, which: Any) -> int:  # noqa: ANN401  # an SQL expression
    table = _ROWS[place.stream.name]
    numbers = select(_OBJECT.c.object).where(which)
    connection.execute(delete(table).where(table.c.object.in_(numbers)))
    return connection.execute(delete(_OBJECT).where(which)).rowcount
