"""What readers see while the sync runs: they ask before each statement and each commit of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from shared.core.directory.order import Order
from shared.core.directory.streams import APPLICATIONS, GROUPS, USERS
from tests.adapters.database.directory_copy import ROOT, oid, query
from tests.directory.places import PLACES, opener
from tests.directory.test_run import SECONDS, Book

STREAMS_READ = (USERS, GROUPS, APPLICATIONS)
SEEN = """
    select 'a person' as what, id, display_name, department as more from active_users
    union all select 'a group', id, display_name, null from active_groups
    union all select 'a member', group_id, member_id, null from group_members
    union all select 'an application', id, display_name, null from active_applications
    union all select 'a secret', id, name, key_id from expiring_credentials
"""
PEOPLE, SETS, APPS = range(100, 140), range(200, 230), range(300, 330)
type Item = Mapping[str, Any]
type Row = tuple[object, ...]


def person(number: int, **more: object) -> Item:
    """Write a person."""
    return {"id": oid(number), "displayName": f"User {number}", **more}


def group(number: int, *members: int) -> Item:
    """Write a group with members."""
    found = [{"id": oid(each), "@odata.type": "#microsoft.graph.user"} for each in members]
    return {"id": oid(number), "displayName": f"Group {number}", **({"members@delta": found} if found else {})}


def application(number: int) -> Item:
    """Write an application with a secret."""
    secret = {"keyId": oid(number + 1_000), "displayName": "deploy", "endDateTime": "2030-01-01T00:00:00Z"}
    return {"id": oid(number), "displayName": f"App {number}", "passwordCredentials": [secret], "keyCredentials": []}


def removed(number: int) -> Item:
    """Write an object that lies in the recycle bin."""
    return {"id": oid(number), "@removed": {"reason": "changed"}}


def pages(path: str, *items: list[Item]) -> Mapping[str, str]:
    """Write pages that lead to each other, by their places."""
    places = [f"{path}/delta", *(f"{path}-{number}" for number in range(1, len(items)))]
    following = [*places[1:], f"{path}-end"]
    kinds = ["@odata.nextLink"] * (len(items) - 1) + ["@odata.deltaLink"]
    return {
        place: json.dumps({"value": found, kind: f"{ROOT}/{after}"})
        for place, found, kind, after in zip(places, items, kinds, following, strict=True)
    }


@pytest.fixture(params=PLACES)
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    """A Graph and an empty store in each place."""
    with closing(Book(opener(request.param, tmp_path, request), STREAMS_READ)) as made:
        yield made


@contextmanager
def before_each_statement(look: Callable[[], None]) -> Iterator[None]:
    """Look before every statement and every commit of a store."""

    def on_call(*_: object) -> None:
        look()

    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, on_call)
    try:
        yield
    finally:
        for moment in ("before_cursor_execute", "commit"):
            event.remove(Engine, moment, on_call)


def test_nothing_vanishes_and_returns(book: Book) -> None:
    """A new copy over two runs, of which much is not believed: what a reader sees goes for good, or not at all.

    In the copy Graph tells that Ann and a group are removed, and later that they are there. Nobody has a department,
    no group has members, and most applications are missing: that is held back. A quarter of the people are gone.
    """
    book.pages |= pages("users", [person(each, department="Sales") for each in PEOPLE])
    book.pages |= pages("groups", [group(each, PEOPLE[each - SETS[0]]) for each in SETS])
    book.pages |= pages("applications", [application(each) for each in APPS])
    assert {each["event"] for each in book.run()} == {"sync_finished"}

    ann, first_set = PEOPLE[0], SETS[0]
    book.pages |= pages(
        "users",
        [removed(ann), *(person(each) for each in PEOPLE[10:20])],
        [person(ann), *(person(each) for each in PEOPLE[20:30])],
        [person(each) for each in reversed(PEOPLE[1:10])],
    )
    book.pages |= pages(
        "groups",
        [removed(first_set), *(group(each) for each in SETS[15:])],
        [group(each) for each in SETS[:15]],
    )
    book.pages |= pages("applications", [application(each) for each in APPS[:5]])
    looks: list[set[Row]] = []

    def look() -> None:
        looks.append({tuple(row.values()) for row in query(book.file, SEEN)})

    with before_each_statement(look):
        book.on_read = lambda: book.clock.suspend(SECONDS / 4)
        look()
        first = book.run(Order(resync=True))
        second = book.run()
        look()
    assert "to be continued" in {each.get("outcome") for each in first}
    assert {
        (each["stream"], each["kind"], each["number"]) for each in first + second if each["event"] == "sync_held"
    } == {
        ("users", "department", 30),
        ("groups", "members", 30),
        ("applications", "objects", 25),
    }
    gone = {("a person", oid(each), f"User {each}", "Sales") for each in PEOPLE[30:]}
    assert looks[0] - looks[-1] == gone
    assert looks[-1] <= looks[0]
    assert [before - after for before, after in pairwise(looks) if before != after] == [gone]
    assert len(looks) > 100
