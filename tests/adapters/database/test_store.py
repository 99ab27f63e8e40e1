"""The standard suite of the store: it runs for every declared stream, and for one that vend does not have."""

import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.checkpoint import LeaseHeld, LeaseLost, LossChanged
from shared.core.directory.delta import Change, ColumnValue, Edge, EdgeChange, LinkKind, ObjectState, Page
from shared.core.directory.streams import GROUPS, LOOKUP_LENGTH, USERS, Lookup, Stream
from shared.core.errors import Unavailable
from tests.adapters.database.directory_copy import (
    EVERY_STREAM,
    NOW,
    NOW_AS_TEXT,
    OTHER_TENANT,
    ROOT,
    TENANT,
    Copy,
    active,
    oid,
)
from tests.adapters.database.postgresql_server import PostgresqlServer, ServerDatabase

A_MINUTE_LATER = "2027-01-15T08:01:00.000000Z"


@pytest.fixture(params=EVERY_STREAM, ids=lambda stream: stream.name)
def stream(request: pytest.FixtureRequest) -> Stream:
    """Each stream."""
    found: Stream = request.param
    return found


@pytest.fixture(params=["a file", pytest.param("PostgreSQL", marks=pytest.mark.nightly)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | ServerDatabase:
    """Where the store is."""
    if request.param == "a file":
        return tmp_path / "directory.db"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database()


in_a_file = pytest.mark.parametrize("place", ["a file"], indirect=True)
"""What SQLite alone does."""


@pytest.fixture
def copy(place: Path | ServerDatabase, stream: Stream) -> Iterator[Copy]:
    """A store that is empty."""
    made = Copy(place, stream)
    yield made
    made.store.close()


def test_a_page_changes_what_it_names(copy: Copy) -> None:
    """Null clears a column, an absent property leaves it, and an object that is not named stays as it is."""
    name, mark, more = copy.texts[:3]
    copy.round(active(1, **{name: "Ann", mark: "a"}), active(2, **{name: "Ben"}))
    copy.round(active(1, **{mark: None, more: "Lee"}), now=NOW + 60)
    ann, ben = copy.rows()[oid(1)], copy.rows()[oid(2)]
    assert (ann[name], ann[mark], ann[more], ann["changed_at"]) == ("Ann", None, "Lee", A_MINUTE_LATER)
    assert (ben[name], ben["tenant_id"], ben["changed_at"]) == ("Ben", TENANT, NOW_AS_TEXT)


def test_an_equal_row_is_not_written(copy: Copy) -> None:
    """A replay and an unchanged tenant write no row, not even its time of change."""
    name, mark = copy.texts[:2]
    objects = [active(number, **{name: f"P{number}", mark: None}) for number in range(50)]
    assert copy.round(*objects) == 100
    assert copy.round(*objects, now=NOW + 60) == 0
    assert copy.round(active(1, **{name: "Q"}), *objects[2:], now=NOW + 60) == 1
    assert copy.rows()[oid(2)]["changed_at"] == NOW_AS_TEXT


def test_a_removed_user_is_seen_no_more(copy: Copy) -> None:
    """A deleted object keeps its row for a restore. Of a purged one the id stays, so that nothing brings it back."""
    name = copy.texts[0]
    copy.round(active(1, **{name: "Ann"}), active(2, **{name: "Ben"}))
    deleted, purged = ObjectState.DELETED, ObjectState.PURGED
    assert copy.round(Change(oid(1), deleted), Change(oid(2), purged), Change(oid(3), deleted)) == 3
    assert copy.rows() == {}
    states = {key: row["state"] for key, row in copy.rows("directory_object").items()}
    assert states == {oid(1): "deleted", oid(2): "purged", oid(3): "deleted"}
    assert copy.round(Change(oid(1), deleted)) == 0
    copy.round(active(1))
    assert copy.rows()[oid(1)][name] == "Ann"
    assert len(copy.query(f"select * from {copy.stream.table}")) == 1  # noqa: S608  # ours


def test_disabled_users_are_not_active(copy: Copy) -> None:
    """The view leaves out what is disabled, where the stream says which column tells. Null counts as enabled."""
    flag = copy.stream.enabled_by
    copy.round(active(1, **{flag: False} if flag else {}), active(2, **{flag: True} if flag else {}), active(3))
    assert copy.rows().keys() == ({oid(2), oid(3)} if flag else {oid(1), oid(2), oid(3)})
    assert len(copy.rows("directory_object")) == 3


@pytest.mark.parametrize(
    "name",
    ["'; drop table directory_user; --", 'Robert"); --', "%s", "a\x00b", "\u202e", "\U0001f600", "", "\\", ":id", "?"],
)
def test_names_are_data(copy: Copy, name: str) -> None:
    """SEC-18: every text arrives as it is. PostgreSQL has no NUL, which no page hands on."""
    column = copy.texts[0]
    if not isinstance(copy.file, Path):
        name = name.replace("\x00", "")
    copy.round(active(1, **{column: name}))
    assert copy.rows()[oid(1)][column] == name


VALUES_IN_SQLITE, VALUES_IN_POSTGRESQL = 32_766, 65_535
"""In one statement: SQLite's own default, which a distribution may raise, and the 16 bits of PostgreSQL's protocol."""


@pytest.mark.slow
@pytest.mark.parametrize("stream", [GROUPS], indirect=True, ids=["groups"])
def test_a_page_may_name_more_than_a_statement(copy: Copy, request: pytest.FixtureRequest) -> None:
    """A page is bounded by its bytes alone, and 8 MiB hold 180,000 ids: of objects, or of a group's members."""
    is_file = isinstance(copy.file, Path)
    many = range(1, 2 + (VALUES_IN_SQLITE if is_file else VALUES_IN_POSTGRESQL))

    def limit(connection: Any, _: object) -> None:  # noqa: ANN401  # the driver's own class
        if is_file:
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, VALUES_IN_SQLITE)

    listen(Engine, "connect", limit)
    request.addfinalizer(lambda: remove(Engine, "connect", limit))
    members = {Edge("member", oid(number)): EdgeChange("users") for number in many}
    copy.round(Change(oid(0), ObjectState.ACTIVE, {}, members))
    users = copy.beside(USERS)
    request.addfinalizer(users.store.close)
    ids = users.store.uncertain(checkpoint := users.begin())
    assert len(ids) == len(many)
    deleted = [Change(each, ObjectState.DELETED) for each in ids]
    users.store.release(users.store.settle(checkpoint, deleted, now=NOW))
    users.round(*deleted)
    assert users.round(*deleted) == 0
    assert users.round(*(replace(each, state=ObjectState.PURGED) for each in deleted)) == len(many)
    assert copy.query("select * from edge") == []


def test_the_longest_text_fits_into_an_index(copy: Copy) -> None:
    """Its characters are the widest, or grow in lower case, and are random: PostgreSQL compresses what repeats."""
    columns = [column.name for column in copy.stream.properties.values() if column.lookup]
    draw = Random(1)  # noqa: S311  # no secrets
    wide = "".join(chr(draw.randrange(0x20000, 0x2A6D0)) for _ in range(LOOKUP_LENGTH))
    growing = "".join(draw.choice("\u0130\u023a\u023e") for _ in range(LOOKUP_LENGTH))
    for number, text in enumerate((wide, growing)):
        copy.round(active(number, **dict.fromkeys(columns, text)))
        assert {copy.rows()[oid(number)][name] for name in columns} == {text}


@in_a_file
def test_a_search_uses_an_index(copy: Copy) -> None:
    """A reader that searches a column as the stream declares reads one entry of an index, not the table."""
    copy.round()
    for column in (column for column in copy.stream.properties.values() if column.lookup):
        term = f'"{column.name}"' if column.lookup is Lookup.EXACT else f'lower("{column.name}")'
        sql = f"select * from {copy.stream.view} where tenant_id = '{TENANT}' and {term} = 'x'"  # noqa: S608  # ours
        plan = [row["detail"] for row in copy.query(f"explain query plan {sql}")]
        assert any(f"USING INDEX {copy.stream.table}_{column.name} " in detail for detail in plan), plan


def test_a_second_run_stays_away(copy: Copy) -> None:
    """TST-06: until the first frees its lease, or stores nothing for the length of it."""
    first = copy.begin()
    with pytest.raises(LeaseHeld):
        copy.begin(now=NOW + LEASE_SECONDS - 1)
    copy.store.release(first)
    second = copy.begin()
    third = copy.begin(now=NOW + LEASE_SECONDS)
    assert [first.fence, second.fence, third.fence] == [1, 2, 3]


def test_a_run_of_another_tenant_goes_its_own_way(copy: Copy) -> None:
    """Each tenant has a lease and a link of its own, and objects of its own though their ids are the same."""
    name = copy.texts[0]
    other = copy.beside(copy.stream, tenant_id=OTHER_TENANT)
    for turn, (mine, theirs) in enumerate(((copy, other), (other, copy))):
        mine.round(active(turn, **{name: "mine"}))
        checkpoint = mine.begin()
        theirs.round(active(turn, **{name: "theirs"}))
        mine.store.commit(checkpoint, Page([active(turn, **{name: "later"})], f"{ROOT}/mine", LinkKind.NEXT), now=NOW)
        mine.store.release(replace(checkpoint, page=checkpoint.page + 1))
        assert (mine.rows()[oid(turn)][name], theirs.rows()[oid(turn)][name]) == ("later", "theirs")
        theirs.round(Change(oid(turn), ObjectState.DELETED))
        assert (oid(turn) in mine.rows(), oid(turn) in theirs.rows()) == (True, False)
        theirs.round(Change(oid(turn), ObjectState.PURGED))
        assert mine.rows()[oid(turn)][name] == "later"
        assert mine.begin(now=NOW).link == f"{ROOT}/mine"
        mine.store.release(replace(checkpoint, fence=checkpoint.fence + 1))
    other.store.close()


def test_a_run_that_was_overtaken_stores_nothing(copy: Copy) -> None:
    """TST-06: a run behind a later one stores neither rows nor link, and does not free the lease of the other."""
    old = copy.begin()
    new = copy.begin(now=NOW + LEASE_SECONDS)
    page = Page([active(1)], f"{ROOT}/old", LinkKind.NEXT)
    for checkpoint in (old, replace(new, page=new.page - 1)):
        with pytest.raises(LeaseLost):
            copy.store.commit(checkpoint, page, now=NOW)
    with pytest.raises(LeaseLost):
        copy.store.move(old, old.anew(), now=NOW)
    copy.store.release(old)
    with pytest.raises(LeaseHeld):
        copy.begin(now=NOW + LEASE_SECONDS)
    assert copy.rows("directory_object") == {}


def test_a_run_goes_on_where_the_last_one_ended(copy: Copy) -> None:
    """The link is the one behind the last page that was stored, in another process too."""
    checkpoint = copy.begin()
    assert checkpoint.link == copy.stream.first_link(ROOT)
    stored = copy.store.commit(checkpoint, Page([active(1)], f"{ROOT}/second", LinkKind.NEXT), now=NOW)
    copy.store.release(stored.checkpoint)
    other = copy.beside(copy.stream)
    resumed = other.begin()
    other.store.close()
    assert (resumed.link, resumed.is_copying) == (f"{ROOT}/second", True)


def test_a_copy_ends_with_a_delta_link(copy: Copy) -> None:
    """From then on the links lead to changes, whatever the number of pages in a round; each page is counted.

    A reader finds when the last round was complete.
    """
    checkpoint = copy.begin()
    first, copying, complete = checkpoint.page, [], []
    for now, kind in enumerate((LinkKind.NEXT, LinkKind.DELTA, LinkKind.NEXT, LinkKind.DELTA)):
        copying.append(checkpoint.is_copying)
        stored = copy.store.commit(checkpoint, Page([active(1)], f"{ROOT}/x", kind), now=NOW + now)
        checkpoint = stored.checkpoint
        complete += [row["complete_at"] for row in copy.query("select complete_at from sync_stream")]
    assert copying == [True, True, False, False]
    assert complete == [None, *(f"2027-01-15T08:00:0{second}.000000Z" for second in (1, 1, 3))]
    assert checkpoint.page == first + 4


def test_each_page_renews_the_lease(copy: Copy) -> None:
    """TST-06: a run of many pages keeps others away for as long as it stores them."""
    first = copy.begin()
    for page, now in enumerate((NOW + LEASE_SECONDS - 1, NOW + 2 * LEASE_SECONDS - 2)):
        kind = LinkKind.DELTA if page else LinkKind.NEXT
        first = copy.store.commit(first, Page([active(page)], f"{ROOT}/{page}", kind), now=now).checkpoint
        with pytest.raises(LeaseHeld):
            copy.begin(now=now + LEASE_SECONDS - 1)
    first = copy.store.move(first, first.anew(), now=now + LEASE_SECONDS - 1)
    with pytest.raises(LeaseHeld):
        copy.begin(now=now + 2 * LEASE_SECONDS - 2)


@in_a_file
def test_a_store_that_fails_tells_nothing_of_what_it_holds(copy: Copy) -> None:
    """SEC-09: the driver's error has the statement and its values. The cause is its name, and the error is not kept."""
    checkpoint = copy.begin()
    with closing(sqlite3.connect(str(copy.file))) as connection:
        connection.execute(f"drop view {copy.stream.view}")
        connection.execute(f"drop table {copy.stream.table}")
    page = Page([active(1, **{copy.texts[0]: "C4N4RY"})], f"{ROOT}/C4N4RY", LinkKind.NEXT)
    with pytest.raises(Unavailable) as caught:
        copy.store.commit(checkpoint, page, now=NOW)
    assert caught.value.cause == "the store failed: SQLITE_ERROR"
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    # What led to it is in no frame either.
    assert "C4N4RY" not in "".join(traceback.format_exception(caught.value))


def break_tables(file: Path) -> None:
    """Make a table that has not the columns of any version."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table schema_version (unheard_of integer)")


@pytest.mark.parametrize(
    ("spoil", "name", "remedy"),
    [
        (lambda file: file.write_bytes(b"no database" * 100), "SQLITE_NOTADB", "move the file away"),
        (lambda file: file.mkdir(), "SQLITE_CANTOPEN", "let the app write"),
        (break_tables, "SQLITE_ERROR", "move the file away"),
    ],
    ids=["not a database", "a folder", "other tables"],
)
def test_a_store_that_fails_is_named(tmp_path: Path, spoil: Callable[[Path], object], name: str, remedy: str) -> None:
    """DIR-08: the error has SQLite's own name, and what to do about it."""
    file = tmp_path / "directory.db"
    spoil(file)
    copy = Copy(file, USERS)
    with closing(copy.store), pytest.raises(Unavailable) as caught:
        copy.begin()
    assert caught.value.cause == f"the store failed: {name}"
    assert remedy in (caught.value.remedy or "")


@in_a_file
def test_a_full_disk_is_named(copy: Copy) -> None:
    """DIR-08: the page is not stored, and the error says what to make room on."""
    checkpoint = copy.begin()
    with closing(sqlite3.connect(str(copy.file))) as connection:
        (pages,) = connection.execute("pragma page_count").fetchone()
    listen(Engine, "begin", limit := lambda connection: connection.exec_driver_sql(f"pragma max_page_count = {pages}"))
    many = [active(number, **{copy.texts[0]: "x" * 200}) for number in range(500)]
    with pytest.raises(Unavailable) as caught:
        copy.store.commit(checkpoint, Page(many, f"{ROOT}/x", LinkKind.NEXT), now=NOW)
    remove(Engine, "begin", limit)
    assert caught.value.cause == "the store failed: SQLITE_FULL"
    assert "make room" in (caught.value.remedy or "")
    assert copy.rows("directory_object") == {}


def test_only_the_app_reads_the_file(tmp_path: Path) -> None:
    """DIR-13: the directory is personal data. An older file is closed to others, and stays open to a group."""
    for name, before, after in (("new.db", None, 0o600), ("older.db", 0o644, 0o640)):
        copy = Copy(tmp_path / name, USERS)
        if before is not None:
            (tmp_path / name).touch(before)
            (tmp_path / name).chmod(before)
        copy.begin()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{name}*")}
        assert len(modes) == 3  # beside the file its journal and the journal's index
        assert set(modes.values()) == {after}
        copy.store.close()


def test_another_graph_is_another_copy(copy: Copy) -> None:
    """A link is good for the root and the properties that it was made for."""
    copy.round(active(1))
    root = "https://graph.microsoft.us"
    assert copy.begin(root=root).link == copy.stream.first_link(root)


def test_a_new_copy_forgets_whom_it_does_not_find(copy: Copy) -> None:
    """REL-40: readers see the old rows until it is complete. What it lacks then may be in the recycle bin."""
    name = copy.texts[0]
    copy.round(*(active(number, **{name: "P"}) for number in range(100)))
    before = copy.begin()
    checkpoint = copy.store.move(before, before.anew(), now=NOW)
    assert (checkpoint.link, checkpoint.page) == (copy.stream.first_link(ROOT), before.page + 1)
    half = Page([active(number, **{name: "P"}) for number in range(50)], f"{ROOT}/half", LinkKind.NEXT)
    checkpoint = copy.store.commit(checkpoint, half, now=NOW).checkpoint
    assert len(copy.rows()) == 100
    rest = [active(number, **{name: "P"}) for number in range(50, 95)]
    assert copy.round(*rest, checkpoint=checkpoint) == 5
    assert len(copy.rows()) == 95
    assert [row["state"] for row in copy.rows("directory_object").values()].count("deleted") == 5
    assert copy.round(active(200)) == 2


def test_a_new_copy_leaves_other_streams_and_tenants_alone(copy: Copy) -> None:
    """A copy of one stream of a tenant deletes no object of another one, and does not count it as lost."""
    others = [copy.beside(other) for other in EVERY_STREAM if other is not copy.stream]
    others += [copy.beside(other, tenant_id=OTHER_TENANT) for other in EVERY_STREAM]
    for number, other in enumerate(others, 100):
        other.round(active(number))
    copy.round(active(1))
    copy.round(active(1), checkpoint=copy.begin_anew())
    for number, other in enumerate(others, 100):
        assert other.rows().keys() == {oid(number)}
        other.store.close()


@pytest.mark.parametrize(
    ("before", "found", "believed"),
    [(3, 0, False), (3, 1, True), (19, 1, True), (20, 10, True), (20, 9, False)],
)
def test_a_copy_that_lost_too_much_is_not_believed(copy: Copy, before: int, found: int, *, believed: bool) -> None:
    """SEC-19: nothing left, or under half of at least 20: the old objects stay, the copy is done."""
    check_belief(copy, before, found, believed=believed)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [USERS], indirect=True, ids=["users"])
@pytest.mark.parametrize(
    ("before", "found", "believed"),
    [(1_000, 500, True), (1_000, 499, False), (6_000, 5_400, True), (6_000, 5_399, False)],
)
def test_a_large_copy_that_lost_too_much_is_not_believed(
    copy: Copy, before: int, found: int, *, believed: bool
) -> None:
    """SEC-19: over 500 and a tenth, which is the same for every stream."""
    check_belief(copy, before, found, believed=believed)


def check_belief(copy: Copy, before: int, found: int, *, believed: bool) -> None:
    """Check what a new copy that finds so many does to so many."""
    copy.round(*(active(number) for number in range(before)))
    page = Page([active(number) for number in range(found)], f"{ROOT}/end", LinkKind.DELTA)
    stored = copy.store.commit(copy.begin_anew(), page, now=NOW)
    assert stored.held == ({} if believed else {"objects": before - found})
    assert len(copy.rows()) == (found if believed else before)
    assert not stored.checkpoint.is_copying


def test_people_in_the_recycle_bin_are_not_lost(copy: Copy) -> None:
    """DIR-03: a copy does not name them. Active objects are compared with active ones."""
    copy.round(*(active(number) for number in range(100)))
    copy.round(*(Change(oid(number), ObjectState.DELETED) for number in range(60)))
    page = Page([active(number) for number in range(60, 100)], f"{ROOT}/end", LinkKind.DELTA)
    assert copy.store.commit(copy.begin_anew(), page, now=NOW).held == {}
    assert len(copy.rows()) == 40


@pytest.mark.parametrize(("left", "given", "held"), [(20, 0, True), (19, 0, False), (20, 1, False), (20, 21, False)])
def test_a_property_that_nobody_has_any_more_is_not_believed(copy: Copy, left: int, given: int, *, held: bool) -> None:
    """DIR-14: a permission was taken away. Half of the objects, and at least 20, had a value; no object has one now."""
    name, mark = copy.texts[:2]
    copy.round(*(active(number, **{name: "P", mark: "x"}) for number in range(left + given)))
    objects = [
        active(number, **{name: "P"} | ({mark: "y"} if number < given else {})) for number in range(left + given)
    ]
    stored = copy.store.commit(copy.begin_anew(), Page(objects, f"{ROOT}/end", LinkKind.DELTA), now=NOW)
    assert stored.held == ({mark: left} if held else {})
    marks = [row[mark] for row in copy.rows().values()]
    assert marks.count("x" if held else None) == left
    copy.store.release(stored.checkpoint)
    copy.round(active(0, **{mark: None}), active(1, **{name: "Q"}))
    assert copy.rows()[oid(0)][mark] is None
    if held:
        # An administrator believes it later: what has a value since then keeps it.
        copy.round(active(2, **{mark: "z"}))
        with pytest.raises(LossChanged) as changed:
            copy.store.accept(copy.begin(), (mark, left), now=NOW)
        assert changed.value.held == {mark: left - 2}
        assert [row[mark] for row in copy.rows().values()].count("x") == left - 2
        copy.store.accept(copy.begin(now=NOW + LEASE_SECONDS), (mark, left - 2), now=NOW)
        assert {row[mark] for row in copy.rows().values()} == {None, "z"}


# The columns are the first two texts of the stream, here by their place.
changes = st.builds(
    Change,
    st.integers(0, 4).map(oid),
    st.sampled_from(ObjectState),
    st.dictionaries(st.sampled_from(["0", "1"]), st.none() | st.sampled_from(["x", "y"])),
)
rounds = st.lists(st.lists(changes, max_size=4, unique_by=lambda change: change.id), max_size=6)


@pytest.mark.slow
@given(pages=rounds)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_a_page_twice_is_a_page_once(
    tmp_path_factory: pytest.TempPathFactory, stream: Stream, pages: list[list[Change]]
) -> None:
    """Graph delivers at least once: a replay changes nothing, and what is stored is what a dict would hold."""
    copy = Copy(tmp_path_factory.mktemp("copy") / "directory.db", stream)
    copy.round()
    model: dict[str, tuple[ObjectState, dict[str, ColumnValue]]] = {}
    for drawn in pages:
        page = [
            replace(change, values={copy.texts[int(place)]: value for place, value in change.values.items()})
            for change in drawn
        ]
        for change in page:
            _, values = model.get(change.id, (ObjectState.PURGED, {}))
            if change.state is ObjectState.PURGED:
                values = {}
            elif change.state is ObjectState.ACTIVE:
                values = {**values, **change.values}
            model[change.id] = (change.state, values)
        copy.round(*page)
        assert copy.round(*page) == 0
    copy.store.close()
    objects = copy.rows("directory_object")
    assert {key: row["state"] for key, row in objects.items()} == {key: state for key, (state, _) in model.items()}
    seen = copy.rows()
    expected = {key: values for key, (state, values) in model.items() if state is ObjectState.ACTIVE}
    assert seen.keys() == expected.keys()
    for key, values in expected.items():
        assert all(seen[key][name] == values.get(name) for name in copy.texts[:2])
