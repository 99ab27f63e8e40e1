"""Databases of other versions: an older one is migrated, a newer one is refused or left as it is."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from shared.adapters.database.dialect import Step
from shared.adapters.database.migration import CURRENT, Version
from shared.adapters.database.sqlite import in_file
from shared.core.directory.checkpoint import LeaseLost
from shared.core.directory.delta import Change, LinkKind, ObjectState, Page
from shared.core.directory.streams import APPLICATIONS, STREAMS, USERS, Column, Lookup, Stream
from shared.core.errors import OperatorError, Unavailable
from tests.adapters.database.directory_copy import GADGETS, NOW, ROOT, WHERE, Copy, Where, active, maker, oid, query
from tests.adapters.database.postgresql_server import USER
from tests.tables import DATA

# A database of each schema version, as `.dump` of SQLite writes it; the newest one too. Version 0 had no number.
SAMPLES = sorted((DATA / "databases").glob("version_*.sql"))
# As `pg_dump --inserts` writes it, but for IN: read again, its form of that is another one.
ON_SERVER = sorted((DATA / "databases" / "postgresql").glob("version_*.sql"))
each_sample = pytest.mark.parametrize(
    ("new_database", "sample"),
    [
        *(pytest.param("a file", sample, id=sample.stem) for sample in SAMPLES),
        *(
            pytest.param("PostgreSQL", sample, id=f"PostgreSQL-{sample.stem}", marks=pytest.mark.slow)
            for sample in ON_SERVER
        ),
    ],
    indirect=["new_database"],
)
in_a_file = pytest.mark.parametrize("new_database", ["a file"], indirect=True)
"""Of a version before PostgreSQL."""
WITH_MANAGERS = 3
"""The version from which the link of users is made for managers too."""
WITH_POSTGRESQL = 3
"""The first version that keeps the directory there."""
NEXT = Version(number=CURRENT.number + 1, writable_by=CURRENT.number)
MORE_USERS = replace(USERS, properties={**USERS.properties, "city": Column("city", lookup=Lookup.EXACT)})


@pytest.fixture(params=WHERE)
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Where]:
    """Make an empty database in each place."""
    return maker(request.param, tmp_path, request)


@pytest.fixture
def place(new_database: Callable[[], Where]) -> Where:
    """Where the database is."""
    return new_database()


@pytest.fixture
def fresh(new_database: Callable[[], Where]) -> Where:
    """Where a new one is, to compare it with."""
    return new_database()


@contextmanager
def vend(where: Where, *streams: Stream, stream: Stream | None = None, version: Version = CURRENT) -> Iterator[Copy]:
    """Open a database as a version of vend with some streams does, to sync one of them: the first by default."""
    copy = Copy(where, stream or streams[0], streams=streams, version=version)
    with closing(copy.store):
        yield copy


def load(sample: Path, where: Where) -> None:
    """Make the database of a sample."""
    if not isinstance(where, Path):
        where.execute(f"SET ROLE {USER};\n{sample.read_text()}")
        return
    with closing(sqlite3.connect(where)) as connection:
        connection.executescript(sample.read_text())


def schema(where: Where) -> Mapping[str, Any]:
    """Describe all tables, columns, indexes and views. An added column is the last: their order does not count."""
    engine = (in_file(where) if isinstance(where, Path) else where.open()).engine
    inspector = inspect(engine)
    tables = {
        table: {column["name"]: {**column, "type": str(column["type"])} for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
    }
    engine.dispose()
    texts = (
        "select name, sql from sqlite_master where type in ('index', 'view')"
        if isinstance(where, Path)
        else "select indexname as name, indexdef as sql from pg_indexes where schemaname = 'public'"
        " union all select viewname, definition from pg_views where schemaname = 'public'"
    )
    return tables | {row["name"]: row["sql"] for row in query(where, texts)}


def content(copy: Copy) -> list[Any]:
    """Read what every version has: objects, their columns, what readers see, and the checkpoint."""
    columns = ", ".join(column.name for column in USERS.properties.values())
    return [
        copy.query(sql)
        for sql in (
            "select object, tenant_id, id, stream, state, generation from directory_object order by object",
            f"select object, {columns} from directory_user order by object",  # noqa: S608  # ours
            f"select tenant_id, id, {columns} from active_users order by id",  # noqa: S608  # ours
            "select tenant_id, stream, fingerprint, generation, is_copying, link, page from sync_stream order by 2",
        )
    ]


@in_a_file
def test_times_become_text(place: Where) -> None:
    """Numbers of seconds of the versions before 2 are the same instants, in the one form that sorts."""
    load(SAMPLES[1], place)
    with vend(place, *STREAMS.values()) as copy:
        copy.begin()
        ann = copy.rows()[oid(1)]
        assert (ann["changed_at"], ann["state_changed_at"]) == ("2026-09-21T14:13:21.000000Z",) * 2
        assert copy.query("select complete_at from sync_stream") == [{"complete_at": "2026-09-21T14:14:22.000000Z"}]


@each_sample
def test_a_released_database_becomes_a_fresh_one(sample: Path, place: Where, fresh: Where) -> None:
    """Migrated, it has the schema of a new one, and the rows are as they were.

    The sync continues at its link. Before version 3 that was made without the managers: a new copy begins.
    """
    load(sample, place)
    released = int(sample.stem.removeprefix("version_"))
    with vend(fresh, *STREAMS.values()) as copy:
        copy.begin()
    with vend(place, *STREAMS.values()) as copy:
        before = content(copy)
        checkpoint = copy.begin()
        assert schema(place) == schema(fresh)
        found = (checkpoint.link, checkpoint.page, checkpoint.is_copying)
        if released < WITH_MANAGERS:
            assert found == (USERS.first_link(ROOT), 5, True)
        else:
            assert found == (f"{ROOT}/v1.0/users/delta?$deltatoken=sample-2", 4, False)
        # The last query is the checkpoint.
        assert content(copy)[: -1 if checkpoint.is_copying else None] == before[: -1 if checkpoint.is_copying else None]
        copy.round(active(1, display_name="Ann O'Hara"), active(3, display_name="Zoe"), checkpoint=checkpoint)
        assert {key: row["display_name"] for key, row in copy.rows().items()} == {
            oid(1): "Ann O'Hara",
            oid(3): "Zoe",
        }


@each_sample
def test_another_declaration_has_a_higher_number(sample: Path, place: Where, fresh: Where) -> None:
    """A change of a declaration raises `CURRENT` and brings a sample: an older version decides by the number."""
    load(sample, place)
    with vend(fresh, *STREAMS.values()) as copy:
        copy.begin()
        released = int(sample.stem.removeprefix("version_"))
        assert released < CURRENT.number or schema(place) == schema(fresh)


def test_every_version_has_a_sample() -> None:
    """Without that of the newest one, the two tests above would hold whatever the declaration becomes."""
    assert [sample.stem for sample in SAMPLES] == [f"version_{number}" for number in range(CURRENT.number + 1)]
    assert [sample.stem for sample in ON_SERVER] == [
        f"version_{number}" for number in range(WITH_POSTGRESQL, CURRENT.number + 1)
    ]


def test_a_column_is_added(place: Where, fresh: Where) -> None:
    """One more property in a declaration: its column, its index and the view follow, and a new copy fills them."""
    with vend(place, USERS) as copy:
        copy.round(active(1, display_name="Ann"))
    with vend(place, MORE_USERS) as copy:
        checkpoint = copy.begin()
        assert checkpoint.link == MORE_USERS.first_link(ROOT)
        assert copy.rows()[oid(1)]["city"] is None
        copy.round(active(1, display_name="Ann", city="Ulm"), checkpoint=checkpoint)
        ann = copy.rows()[oid(1)]
        assert (ann["display_name"], ann["city"]) == ("Ann", "Ulm")
    with vend(fresh, MORE_USERS) as copy:
        copy.begin()
    assert schema(place) == schema(fresh)


def test_a_stream_is_added(place: Where) -> None:
    """One more declaration: its table and its view are there, and the first stream continues."""
    with vend(place, USERS) as copy:
        copy.round(active(1))
        (before,) = copy.query("select link from sync_stream")
    with vend(place, USERS, GADGETS) as users, vend(place, USERS, GADGETS, stream=GADGETS) as gadgets:
        gadgets.round(active(2, order="first"))
        assert gadgets.rows()[oid(2)]["order"] == "first"
        assert users.begin().link == before["link"]


def test_a_view_is_made_anew(place: Where) -> None:
    """A view follows its declaration, also where its columns stay the same."""
    with vend(place, USERS) as copy:
        copy.round(active(1, account_enabled=False))
        assert copy.rows() == {}
    with vend(place, replace(USERS, enabled_by=None)) as copy:
        copy.begin()
        assert copy.rows().keys() == {oid(1)}


def test_a_run_of_the_old_version_stores_nothing(place: Where) -> None:
    """A migration takes the lease from the run that is under way: it can neither commit nor start a copy."""
    page = Page([active(1)], f"{ROOT}/old", LinkKind.NEXT)
    with vend(place, USERS) as old, vend(place, MORE_USERS, version=NEXT) as new:
        checkpoint = old.begin()
        assert new.begin().fence > checkpoint.fence
        with pytest.raises(LeaseLost):
            old.store.commit(checkpoint, page, now=NOW)
        with pytest.raises(LeaseLost):
            old.store.move(checkpoint, checkpoint.anew(), now=NOW)
        assert new.rows("directory_object") == {}


def test_a_run_of_another_stream_loses_its_lease_too(place: Where) -> None:
    """A migration raises every fence, not only that of the stream whose run migrates."""
    with vend(place, USERS, GADGETS) as old, vend(place, USERS, GADGETS, stream=GADGETS, version=NEXT) as new:
        checkpoint = old.begin()
        new.begin()
        with pytest.raises(LeaseLost):
            old.store.commit(checkpoint, Page([active(1)], f"{ROOT}/old", LinkKind.NEXT), now=NOW)


def test_an_unchanged_database_is_left_alone(place: Where) -> None:
    """A second process of the same version raises no fence: the run of the first goes on."""
    with vend(place, USERS, GADGETS) as first, vend(place, USERS, GADGETS, stream=GADGETS) as second:
        checkpoint = first.begin()
        second.begin()
        first.round(active(1), checkpoint=checkpoint)
        assert first.rows().keys() == {oid(1)}


def test_a_newer_database_is_refused(place: Where) -> None:
    """The operator learns which version wrote it and what to do. Nothing is changed."""
    newer = replace(NEXT, writable_by=NEXT.number)
    with vend(place, MORE_USERS, version=newer) as copy:
        copy.round(active(1, city="Ulm"))
    before = schema(place)
    with vend(place, USERS) as copy:
        with pytest.raises(OperatorError, match=r"newer vend .*schema 3.* deploy .* remove the database"):
            copy.begin()
        assert schema(place) == before
        assert copy.query("select fence from sync_stream") == [{"fence": 1}]


def test_a_rollback_works_where_the_newer_version_allows_it(place: Where) -> None:
    """N writes; N-1 reads and writes, and leaves out the column that it does not know; N then copies again."""
    with vend(place, MORE_USERS, version=NEXT) as newer, vend(place, USERS) as older:
        newer.round(active(1, display_name="Ann", city="Ulm"))
        before = schema(place)
        older.round(active(1, display_name="Anna"), active(2, display_name="Ben"))
        older.round(Change(oid(2), ObjectState.DELETED))
        assert schema(place) == before
        checkpoint = newer.begin()
        assert checkpoint.link == MORE_USERS.first_link(ROOT)
        newer.round(active(1, display_name="Anna", city="Bonn"), active(2), checkpoint=checkpoint)
        rows = newer.rows()
        assert (rows[oid(1)]["display_name"], rows[oid(1)]["city"], rows[oid(2)]["city"]) == ("Anna", "Bonn", None)


@in_a_file
def test_a_rolled_back_app_passes_over_credentials(place: Where) -> None:
    """The version before 3 knows neither their streams nor their table. It writes, and they are as they were."""
    load(SAMPLES[3], place)
    before_3 = Version(number=2, writable_by=2, steps={2: CURRENT.steps[2]})
    queries = ("select * from credential", "select * from directory_application", "select * from expiring_credentials")
    with vend(place, *STREAMS.values(), stream=APPLICATIONS) as newer, vend(place, USERS, version=before_3) as older:
        before = [newer.query(sql) for sql in queries]
        older.round(active(1, display_name="Anna"), Change(oid(3), ObjectState.PURGED))
        assert [newer.query(sql) for sql in queries] == before
        assert newer.begin().link == f"{ROOT}/1"
        assert len(before[-1]) == 2


# What an addition cannot express: the column gets another name, and its values another form.
_RENAMED = [
    "ALTER TABLE directory_user RENAME COLUMN mail TO address",
    "UPDATE directory_user SET address = lower(address)",
    "DROP INDEX IF EXISTS directory_user_mail",
]
_PREFIXED = ["UPDATE directory_user SET address = 'mailto:' || address"]
STEPS = {
    NEXT.number: Step(sqlite=_RENAMED, postgresql=_RENAMED),
    NEXT.number + 1: Step(sqlite=_PREFIXED, postgresql=_PREFIXED),
}
ADDRESSES = replace(
    USERS,
    properties={
        name: replace(column, name="address") if column.name == "mail" else column
        for name, column in USERS.properties.items()
    },
)
AFTER_NEXT = Version(number=NEXT.number + 1, writable_by=NEXT.number, steps={**CURRENT.steps, **STEPS})


def test_steps_run_once_and_in_order(place: Where, fresh: Where) -> None:
    """A database runs the steps above its own number; rows are kept. A new database runs none."""
    with vend(place, USERS) as copy:
        copy.round(active(1, mail="Ann@x"))
    first = replace(NEXT, steps={**CURRENT.steps, NEXT.number: STEPS[NEXT.number]})
    for version, address in ((first, "ann@x"), (AFTER_NEXT, "mailto:ann@x"), (AFTER_NEXT, "mailto:ann@x")):
        with vend(place, ADDRESSES, version=version) as copy:
            copy.store.release(copy.begin())
            assert copy.rows()[oid(1)]["address"] == address
    with vend(fresh, ADDRESSES, version=AFTER_NEXT) as copy:
        copy.begin()
    assert schema(place) == schema(fresh)


@in_a_file
def test_an_old_database_runs_every_step(place: Where) -> None:
    """A database that skipped a version runs the steps of both; one without a number counts as the oldest."""
    load(SAMPLES[0], place)
    with vend(place, ADDRESSES, version=AFTER_NEXT) as copy:
        copy.begin()
        assert copy.rows()[oid(1)]["address"] == "mailto:ann.ohara@contoso.example"


def test_a_migration_that_fails_changes_nothing(place: Where) -> None:
    """Steps, additions, fences and number are one transaction: the old version goes on."""
    statements = [*_RENAMED, "UPDATE no_such_table SET x = 1"]
    broken = replace(NEXT, steps={NEXT.number: Step(sqlite=statements, postgresql=statements)})
    with vend(place, USERS) as old, vend(place, ADDRESSES, version=broken) as new:
        checkpoint = old.begin()
        before = schema(place)
        with pytest.raises(Unavailable):
            new.begin()
        assert schema(place) == before
        old.round(active(1, mail="ann@x"), checkpoint=checkpoint)
        assert old.rows()[oid(1)]["mail"] == "ann@x"


@each_sample
def test_where_an_older_database_stands_can_be_asked(sample: Path, place: Where) -> None:
    """The timer asks before a run migrates it; what it does not tell in this version's form is due."""
    load(sample, place)
    with closing(Copy(place, USERS).store) as store:
        assert all(isinstance(found.complete_at, float | None) for found in store.standings())
