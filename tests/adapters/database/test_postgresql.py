"""PostgreSQL: several writers at once, whose clocks differ, how a connection is proved, and what its errors mean."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import Connection, event

from shared.adapters.database.postgresql import REMEDIES, REST_SECONDS
from shared.adapters.database.store import LEASE_SECONDS, SqlStore
from shared.core.directory.checkpoint import Checkpoint, LeaseHeld, LeaseLost, Stored
from shared.core.directory.delta import Change, Edge, EdgeChange, LinkKind, ObjectState, Page
from shared.core.directory.streams import GROUPS, STREAMS, USERS, Stream
from shared.core.errors import Unavailable
from shared.runtime import quiet_libraries
from tests.adapters.database.directory_copy import NOW, ROOT, TENANT, active, oid
from tests.adapters.database.postgresql_server import PASSWORD, PostgresqlServer, ServerDatabase

pytestmark = pytest.mark.slow

DANGLING = """
    select src, dst from edge
    left join directory_object as source on source.object = src
    left join directory_object as target on target.object = dst
    where source.object is null or target.object is null or target.state = 'purged' or source.state = 'purged'
"""
ROUNDS, MEMBERS = 12, 40


@pytest.fixture
def database(postgresql: PostgresqlServer) -> ServerDatabase:
    """An empty database, whose clock is the server's."""
    return postgresql.new_database()


@pytest.fixture
def open_store(database: ServerDatabase) -> Iterator[Callable[[], SqlStore]]:
    """Open a store as one process does."""
    opened: list[SqlStore] = []

    def open_one() -> SqlStore:
        opened.append(SqlStore(database.open(), streams=STREAMS.values()))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def begin(store: SqlStore, stream: Stream, *, now: float = NOW) -> Checkpoint:
    """Take the lease of a stream."""
    return store.begin(stream, tenant_id=TENANT, root=ROOT, now=now)


def group(number: int, *members: int) -> Change:
    """Make the change of a group with members."""
    return Change(
        oid(number), ObjectState.ACTIVE, {}, {Edge("member", oid(each)): EdgeChange("users") for each in members}
    )


def store_pages(store: SqlStore, stream: Stream, pages: list[list[Change]], start: threading.Barrier) -> int:
    """Store pages one after the other, side by side with another stream; return how many."""
    checkpoint = begin(store, stream)
    start.wait()
    for number, changes in enumerate(pages):
        page = Page(changes, f"{ROOT}/{number}", LinkKind.DELTA)  # a copy would only remember a purge
        checkpoint = store.commit(checkpoint, page, now=NOW).checkpoint
    store.release(checkpoint)
    return checkpoint.page


def side_by_side(open_store: Callable[[], SqlStore], **pages: list[list[Change]]) -> None:
    """Run streams at the same time, each as a process of its own; no page is lost."""
    start = threading.Barrier(len(pages))
    with ThreadPoolExecutor(len(pages)) as pool:
        runs = {
            name: pool.submit(store_pages, open_store(), STREAMS[name], some, start) for name, some in pages.items()
        }
        assert {name: run.result() for name, run in runs.items()} == {
            name: len(some) + 1 for name, some in pages.items()
        }


WAITING = "select 1 as is_so from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


def test_users_purges_while_groups_inserts(open_store: Callable[[], SqlStore], database: ServerDatabase) -> None:
    """No edge leads to nobody: a purge that comes just before the edges are written waits for their page."""
    users, groups = open_store(), open_store()
    of_users = users.commit(begin(users, USERS), Page([active(100)], f"{ROOT}/1", LinkKind.DELTA), now=NOW).checkpoint
    of_groups = begin(groups, GROUPS)
    purge = Page([Change(oid(100), ObjectState.PURGED, {})], f"{ROOT}/2", LinkKind.NEXT)
    purges: list[Future[Stored]] = []

    def on_edges(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO edge") and not purges:
            purges.append(pool.submit(users.commit, of_users, purge, now=NOW))
            while not (purges[0].done() or database.query(WAITING)):
                pass

    event.listen(groups._database.engine, "before_cursor_execute", on_edges)  # noqa: SLF001  # no door leads there
    with ThreadPoolExecutor(1) as pool:
        groups.commit(of_groups, Page([group(1, 100)], f"{ROOT}/1", LinkKind.NEXT), now=NOW)
        purges[0].result()
    assert database.query("select state from directory_object order by id") == [
        {"state": "active"},
        {"state": "purged"},
    ]
    assert database.query(DANGLING) == []


def test_purges_and_inserts_at_once_lose_no_page(open_store: Callable[[], SqlStore], database: ServerDatabase) -> None:
    """Whatever the order of the objects in a page is."""
    people = range(100, 100 + MEMBERS)
    users = [
        [Change(oid(each), state, {}) for each in (people if turn % 2 else reversed(people))]
        for turn in range(ROUNDS)
        for state in (ObjectState.ACTIVE, ObjectState.PURGED)
    ]
    groups = [[group(turn % 3, *(people if turn % 2 else reversed(people)))] for turn in range(2 * ROUNDS)]
    side_by_side(open_store, users=users, groups=groups)
    assert database.query(DANGLING) == []


def test_two_streams_insert_the_same_unseen_members(
    open_store: Callable[[], SqlStore], database: ServerDatabase
) -> None:
    """REL-43: a page whose objects another run has inserted is stored once more; each has one number."""
    users, groups = list[list[Change]](), list[list[Change]]()
    for turn in range(ROUNDS):
        people = range(1_000 * (turn + 1), 1_000 * (turn + 1) + MEMBERS)
        users.append([active(each) for each in reversed(people)])
        groups.append([group(turn, *people)])
    side_by_side(open_store, users=users, groups=groups)
    assert database.query(DANGLING) == []
    (found,) = database.query("select count(*) as edges, count(distinct dst) as members from edge")
    assert found == {"edges": ROUNDS * MEMBERS, "members": ROUNDS * MEMBERS}
    assert {row["state"] for row in database.query("select state from directory_object")} == {"active"}


def test_a_database_is_migrated_once(open_store: Callable[[], SqlStore], database: ServerDatabase) -> None:
    """Runs that meet an empty database wait for the first of them."""
    side_by_side(open_store, users=[[active(1)]], groups=[[active(2)]], applications=[[active(3)]])
    assert len(database.query("select * from schema_version")) == 1


@pytest.mark.parametrize("late", [-300.0, 300.0])
def test_a_lease_goes_by_the_clock_of_the_database(
    open_store: Callable[[], SqlStore], database: ServerDatabase, late: float
) -> None:
    """TST-06: of two instances whose clocks are five minutes apart none takes a stream over too early, or too late."""
    ours, other = open_store(), open_store()
    database.set_clock(NOW)
    old = begin(ours, USERS)
    with pytest.raises(LeaseHeld):
        begin(other, USERS, now=NOW + late)
    database.set_clock(NOW + LEASE_SECONDS)
    fresh = open_store()
    new = begin(fresh, USERS, now=NOW + late)
    with pytest.raises(LeaseLost):
        ours.commit(old, Page([active(1)], f"{ROOT}/old", LinkKind.NEXT), now=NOW)
    fresh.commit(new, Page([active(2)], f"{ROOT}/new", LinkKind.NEXT), now=NOW + late)
    assert [row["id"] for row in database.query("select id from active_users")] == [oid(2)]


def test_a_password_is_asked_for_at_each_connection(database: ServerDatabase, postgresql: PostgresqlServer) -> None:
    """The witness at the front sees each one. One that was refused is not sent again, and stands in no error."""
    postgresql.front.passwords.clear()
    asked: list[str] = []
    answers = iter(["C4N4RY-old", PASSWORD, PASSWORD])

    def password(refused: str) -> str:
        asked.append(refused)
        return next(answers)

    database_ = database.open(password)
    with closing(SqlStore(database_, streams=STREAMS.values())) as store:
        with pytest.raises(Unavailable) as caught:
            begin(store, USERS)
        assert (caught.value.cause, caught.value.remedy) == ("the store failed: 28P01", REMEDIES["28"])
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        checkpoint = begin(store, USERS)
        database_.engine.dispose()
        store.release(checkpoint)
    assert postgresql.front.passwords == ["C4N4RY-old", PASSWORD, PASSWORD]
    assert asked == ["", "C4N4RY-old", ""]
    said = f"{database_!r} {vars(database_.engine)!r} {traceback.format_exception(caught.value)}"
    assert "C4N4RY" not in said


@pytest.mark.parametrize(("name", "ca_file"), [("other.example", None), ("localhost", "")], ids=["name", "root"])
def test_a_server_has_to_prove_its_name(
    database: ServerDatabase,
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    ca_file: str | None,
) -> None:
    """FND-A1: by a root that is trusted, whatever libpq's variables say. Any other server gets no password."""
    for variable, value in {"PGSSLMODE": "disable", "PGSSLROOTCERT": str(postgresql.ca_file)}.items():
        monkeypatch.setenv(variable, value)
    front = postgresql.front
    monkeypatch.setattr(front, "context", postgresql.authority.server_context(name))
    front.passwords.clear()
    with closing(SqlStore(database.open(ca_file=ca_file), streams=STREAMS.values())) as store:
        with pytest.raises(Unavailable) as caught:
            begin(store, USERS)
        assert caught.value.cause == "the store failed: TLS"
    assert front.passwords == []


@pytest.mark.parametrize(
    ("spoil", "name", "remedy"),
    [
        ("ALTER ROLE vend CONNECTION LIMIT 0", "53300", "53"),
        ("REVOKE CREATE ON SCHEMA public FROM vend; ALTER SCHEMA public OWNER TO postgres", "42501", "42501"),
        ("CREATE TABLE schema_version (unheard_of integer); GRANT ALL ON schema_version TO vend", "42703", "42"),
        ("ALTER ROLE vend SET default_transaction_read_only = on", "25006", "25006"),
    ],
    ids=["no connection left", "no right", "other tables", "read-only"],
)
def test_a_server_that_fails_is_named(
    postgresql: PostgresqlServer, database: ServerDatabase, spoil: str, name: str, remedy: str
) -> None:
    """DIR-08: the error has its SQLSTATE, and what to do about it; not a word of the driver's."""
    database.execute(spoil)
    store = SqlStore(database.open(), streams=STREAMS.values())
    try:
        with closing(store), pytest.raises(Unavailable) as caught:
            begin(store, USERS)
    finally:
        with postgresql.administer() as connection:
            connection.execute("ALTER ROLE vend CONNECTION LIMIT -1")
            connection.execute("ALTER ROLE vend RESET ALL")
    assert (caught.value.cause, caught.value.remedy) == (f"the store failed: {name}", REMEDIES[remedy])


def test_an_end_that_nobody_learned_of_is_found_by_the_next_run(
    open_store: Callable[[], SqlStore], database: ServerDatabase
) -> None:
    """REL-43: the server has stored the page, and the connection ends before it says so. Nothing is stored twice."""
    store, page = open_store(), Page([active(1), group(2, 3)], f"{ROOT}/1", LinkKind.NEXT)
    checkpoint = begin(store, USERS)

    def end(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.commit()
        driver.close()

    event.listen(store._database.engine, "commit", end, once=True)  # noqa: SLF001  # no door leads there
    with pytest.raises(Unavailable, match="the store failed: CONNECTION"):
        store.commit(checkpoint, page, now=NOW)
    with pytest.raises(LeaseLost):
        store.commit(checkpoint, page, now=NOW)
    store.release(checkpoint)
    after = begin(open_store(), USERS)
    assert (after.link, after.page) == (f"{ROOT}/1", checkpoint.page + 1)
    assert len(database.query("select id from directory_object")) == 3


def test_a_view_of_a_reader_is_in_the_way_of_a_migration(
    open_store: Callable[[], SqlStore], database: ServerDatabase
) -> None:
    """DIR-08: what was built on the views is not taken away. It is named, and nothing is changed."""
    begin(open_store(), USERS)
    database.execute("CREATE VIEW ours AS SELECT id FROM active_users; UPDATE schema_version SET number = 2")
    with pytest.raises(Unavailable) as caught:
        begin(open_store(), GROUPS)
    assert (caught.value.cause, caught.value.remedy) == ("the store failed: 2BP01", REMEDIES["2BP01"])
    assert database.query("select number from schema_version") == [{"number": 2}]
    database.execute("DROP VIEW ours")
    begin(open_store(), GROUPS)


def message(kind: bytes, *parts: bytes) -> bytes:
    """Write a message as a server does."""
    content = b"".join(part + b"\0" for part in parts)
    return kind + (len(content) + 4).to_bytes(4) + content


def test_what_a_server_says_is_in_no_log(
    postgresql: PostgresqlServer, database: ServerDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """SEC-10: psycopg would log its time zone, and SQLAlchemy why nothing can be rolled back, with the rows."""
    quiet_libraries()
    in_transaction = b"Z\0\0\0\5T"
    refusal = message(b"E", b"SERROR", b"VERROR", b"CXX000", b"MC4N4RY-of-the-server", b"") + in_transaction
    zone = message(b"S", b"TimeZone", b"C4N4RY/Zone")
    with closing(SqlStore(database.open(), streams=STREAMS.values())) as store:
        store.commit(begin(store, USERS), Page([active(1)], f"{ROOT}/1", LinkKind.DELTA), now=NOW)
        front = postgresql.front
        try:
            front.lies = {b"BEGIN": zone + message(b"C", b"BEGIN") + in_transaction}
            assert len(store.standings()) == 1
            front.lies = {b"COMMIT": refusal, b"ROLLBACK": refusal}
            with pytest.raises(Unavailable) as caught:
                store.standings()
        finally:
            front.lies = {}
    assert caught.value.cause == "the store failed: XX000"
    assert "C4N4RY" not in caplog.text


@pytest.mark.parametrize("command", [b"BEGIN", b"COMMIT", b"SELECT"])
def test_a_server_that_is_silent_is_left(
    postgresql: PostgresqlServer, database: ServerDatabase, monkeypatch: pytest.MonkeyPatch, command: bytes
) -> None:
    """DIR-08: the store has one thread, and a run that waits for ever would have the host end the whole worker.

    It is not asked again at once: each stream of the run would wait as long.
    """
    front = postgresql.front
    with closing(SqlStore(database.open(seconds=1), streams=STREAMS.values())) as store:
        store.commit(begin(store, USERS), Page([active(1)], f"{ROOT}/1", LinkKind.DELTA), now=NOW)
        began = time.monotonic()
        front.lies = {command: b""}
        try:
            for _ in range(5):
                with pytest.raises(Unavailable) as caught:
                    begin(store, GROUPS)
                assert (caught.value.cause, caught.value.remedy) == ("the store failed: 57014", REMEDIES["57014"])
        finally:
            front.lies = {}
        assert time.monotonic() - began < 4
        monkeypatch.setattr(time, "monotonic", lambda: began + REST_SECONDS + 4)
        begin(store, GROUPS)


def test_a_run_that_is_cut_off_anywhere_leaves_a_page_or_nothing(
    open_store: Callable[[], SqlStore], database: ServerDatabase
) -> None:
    """The session ends before each statement in turn: the next run stores the same page, and no row is there twice."""

    class CutOffError(Exception):
        """The process has ended."""

    calls = 0
    doom = 0

    def cut(_connection: Connection, *_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == doom:
            raise CutOffError

    page = Page([active(1, display_name="Ann"), active(2), group(3, 1, 4)], f"{ROOT}/1", LinkKind.NEXT)
    store = open_store()
    checkpoint = begin(store, USERS)
    while True:
        doom, calls = doom + 1, 0
        killed = open_store()
        event.listen(killed._database.engine, "before_cursor_execute", cut)  # noqa: SLF001  # no door leads there
        try:
            checkpoint = killed.commit(checkpoint, page, now=NOW).checkpoint
        except CutOffError:
            assert database.query("select id from directory_object") == []
            continue
        break
    assert doom > 8
    assert checkpoint.link == f"{ROOT}/1"
    assert len(database.query("select id from directory_object")) == 4
    assert store.commit(checkpoint, page, now=NOW).rows == 0
