import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.database.store import LEASE_SECONDS, Store
from shared.core.directory.delta import USERS, BusyError, Change, Link, Page, Place, State, Value
from shared.core.errors import OperatorError

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
ROOT = "https://graph.microsoft.com"
NOW = 1_800_000_000.0


def oid(number: int) -> str:
    """Make an id."""
    return f"00000000-0000-0000-0000-{number:012d}"


def user(number: int, **values: Value) -> Change:
    """Say something of a user who is there."""
    return Change(oid(number), State.ACTIVE, values)


class Copy:
    """A store in a file, and what a reader finds in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.store = Store(f"sqlite:///{file}")

    def begin(self, *, now: float = NOW, root: str = ROOT) -> Place:
        """Take the users over."""
        return self.store.begin(USERS, tenant_id=TENANT, root=root, now=now)

    def round(self, *changes: Change, place: Place | None = None, now: float = NOW) -> int:
        """Store one round of one page; tell how many rows were written."""
        at = place or self.begin(now=now)
        at, rows = self.store.commit(at, Page(changes, f"{ROOT}/{at.page}", Link.DELTA), now=now)
        self.store.release(at)
        return rows

    def rows(self, table: str = "active_users") -> Mapping[str, Mapping[str, Any]]:
        """Read a table of users as somebody does who knows SQL and nothing of us."""
        with closing(sqlite3.connect(self.file)) as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"select * from {table}")]  # noqa: S608  # ours
        return {row["id"]: row for row in found}


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """A store that is empty."""
    made = Copy(tmp_path / "directory.db")
    yield made
    made.store.close()


def test_a_page_changes_what_it_names(copy: Copy) -> None:
    """Cleared is null, what is left out stays, and who is not named stays as he is."""
    copy.round(user(1, display_name="Ann", mail="ann@x", account_enabled=True), user(2, display_name="Ben"))
    copy.round(user(1, mail=None, surname="Lee"), now=NOW + 60)
    ann, ben = copy.rows()[oid(1)], copy.rows()[oid(2)]
    assert (ann["display_name"], ann["mail"], ann["surname"], ann["changed_at"]) == ("Ann", None, "Lee", NOW + 60)
    assert (ben["display_name"], ben["tenant_id"], ben["changed_at"]) == ("Ben", TENANT, NOW)


def test_an_equal_row_is_not_written(copy: Copy) -> None:
    """A replay and an unchanged tenant cost no row, not even its time of change."""
    people = [user(number, display_name=f"P{number}", mail=None) for number in range(50)]
    assert copy.round(*people) == 100
    assert copy.round(*people, now=NOW + 60) == 0
    assert copy.round(user(1, display_name="Q"), *people[2:], now=NOW + 60) == 1
    assert copy.rows()[oid(2)]["changed_at"] == NOW


def test_a_removed_user_is_seen_no_more(copy: Copy) -> None:
    """In the recycle bin the row waits for a restore; for good, nothing of the person is kept."""
    copy.round(user(1, display_name="Ann"), user(2, display_name="Ben"))
    copy.round(Change(oid(1), State.DELETED), Change(oid(2), State.PURGED), Change(oid(3), State.DELETED))
    assert copy.rows() == {}
    assert copy.rows("directory_object").keys() == {oid(1)}
    assert copy.round(Change(oid(1), State.DELETED)) == 0
    copy.round(user(1))
    assert copy.rows()[oid(1)]["display_name"] == "Ann"
    with closing(sqlite3.connect(copy.file)) as connection:
        assert connection.execute("select count(*) from directory_user").fetchone() == (1,)


def test_disabled_users_are_not_active(copy: Copy) -> None:
    """active_users holds who may sign in; one of whom Graph has not said so counts as such."""
    copy.round(user(1, account_enabled=False), user(2, account_enabled=True), user(3))
    assert copy.rows().keys() == {oid(2), oid(3)}
    assert len(copy.rows("directory_object")) == 3


@pytest.mark.parametrize(
    "name",
    ["'; drop table directory_user; --", 'Robert"); --', "%s", "a\x00b", "\u202e", "\U0001f600", "", "\\", ":id", "?"],
)
def test_names_are_data(copy: Copy, name: str) -> None:
    """SEC-18: whatever somebody is called arrives as it is."""
    copy.round(user(1, display_name=name))
    assert copy.rows()[oid(1)]["display_name"] == name


def test_a_second_run_stays_away(copy: Copy) -> None:
    """TST-06: until the first has let go, or was silent for the length of a lease."""
    first = copy.begin()
    with pytest.raises(BusyError):
        copy.begin(now=NOW + LEASE_SECONDS - 1)
    copy.store.release(first)
    second = copy.begin()
    third = copy.begin(now=NOW + LEASE_SECONDS)
    assert [first.fence, second.fence, third.fence] == [1, 2, 3]


def test_a_run_that_was_overtaken_stores_nothing(copy: Copy) -> None:
    """TST-06: it wakes behind a later one, and neither rows nor link get in; nor can it let the other go."""
    old = copy.begin()
    new = copy.begin(now=NOW + LEASE_SECONDS)
    page = Page([user(1)], f"{ROOT}/old", Link.NEXT)
    for place in (old, Place(**{name: getattr(new, name) for name in Place.__slots__} | {"page": new.page - 1})):
        with pytest.raises(BusyError):
            copy.store.commit(place, page, now=NOW)
    with pytest.raises(BusyError):
        copy.store.reset(old, root=ROOT, now=NOW)
    copy.store.release(old)
    with pytest.raises(BusyError):
        copy.begin(now=NOW + LEASE_SECONDS)
    assert copy.rows("directory_object") == {}


def test_a_run_goes_on_where_the_last_one_ended(copy: Copy) -> None:
    """The link is the one behind the last page that was stored, in another process too."""
    place = copy.begin()
    assert place.link == USERS.first_link(ROOT)
    place, _ = copy.store.commit(place, Page([user(1)], f"{ROOT}/second", Link.NEXT), now=NOW)
    copy.store.release(place)
    other = Store(f"sqlite:///{copy.file}")
    resumed = other.begin(USERS, tenant_id=TENANT, root=ROOT, now=NOW)
    other.close()
    assert (resumed.link, resumed.is_copying) == (f"{ROOT}/second", True)


def test_another_graph_is_another_copy(copy: Copy) -> None:
    """A link is good for the root and the properties that it was made for."""
    copy.round(user(1))
    assert copy.begin(root="https://graph.microsoft.us").link == USERS.first_link("https://graph.microsoft.us")


def test_a_new_copy_forgets_whom_it_does_not_find(copy: Copy) -> None:
    """REL-40: readers keep the old rows until it is complete; who then was not in it is gone, with all values."""
    copy.round(*(user(number, display_name="P") for number in range(100)))
    place = copy.store.reset(copy.begin(), root=ROOT, now=NOW)
    assert place.link == USERS.first_link(ROOT)
    half = Page([user(number, display_name="P") for number in range(50)], f"{ROOT}/half", Link.NEXT)
    place, _ = copy.store.commit(place, half, now=NOW)
    assert len(copy.rows()) == 100
    copy.round(*(user(number, display_name="P") for number in range(50, 95)), place=place)
    assert len(copy.rows()) == len(copy.rows("directory_object")) == 95
    assert copy.round(user(200)) == 2


@pytest.mark.parametrize(
    ("before", "found", "believed"),
    [(3, 0, False), (3, 1, True), (19, 1, True), (20, 10, True), (20, 9, False), (6_000, 5_400, True),
     (1_000, 500, True), (1_000, 499, False), (6_000, 5_399, False)],
)  # fmt: skip
def test_a_copy_that_lost_too_much_is_not_believed(copy: Copy, before: int, found: int, *, believed: bool) -> None:
    """SEC-19: nobody left, under half of at least 20, over 500 and a tenth: nothing is deleted."""
    copy.round(*(user(number) for number in range(before)))
    place = copy.store.reset(copy.begin(), root=ROOT, now=NOW)
    page = Page([user(number) for number in range(found)], f"{ROOT}/end", Link.DELTA)
    if believed:
        copy.store.commit(place, page, now=NOW)
        assert len(copy.rows("directory_object")) == found
        return
    with pytest.raises(OperatorError, match=f"lacks {before - found} of {before} rows"):
        copy.store.commit(place, page, now=NOW)
    assert len(copy.rows("directory_object")) == before
    assert copy.begin(now=NOW + LEASE_SECONDS).link == USERS.first_link(ROOT)


changes = st.builds(
    Change,
    st.integers(0, 4).map(oid),
    st.sampled_from(State),
    st.dictionaries(st.sampled_from(["mail", "surname"]), st.none() | st.sampled_from(["x", "y"])),
)
rounds = st.lists(st.lists(changes, max_size=4, unique_by=lambda change: change.id), max_size=6)


@given(pages=rounds)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_a_page_twice_is_a_page_once(tmp_path_factory: pytest.TempPathFactory, pages: list[list[Change]]) -> None:
    """Graph delivers at least once: a replay changes nothing, and what is stored is what a dict would hold."""
    copy = Copy(tmp_path_factory.mktemp("copy") / "directory.db")
    model: dict[str, tuple[State, dict[str, Value]]] = {}
    for page in pages:
        for change in page:
            state, values = model.get(change.id, (State.PURGED, {}))
            if change.state is State.PURGED:
                model.pop(change.id, None)
            elif change.state is State.ACTIVE:
                model[change.id] = (State.ACTIVE, {**values, **change.values})
            elif state is not State.PURGED:
                model[change.id] = (State.DELETED, values)
        copy.round(*page)
        assert copy.round(*page) == 0
    copy.store.close()
    objects = copy.rows("directory_object")
    assert {key: row["state"] for key, row in objects.items()} == {key: state for key, (state, _) in model.items()}
    active = {key: values for key, (state, values) in model.items() if state is State.ACTIVE}
    seen = copy.rows()
    assert seen.keys() == active.keys()
    for key, values in active.items():
        assert all(seen[key][name] == values.get(name) for name in ("mail", "surname"))
