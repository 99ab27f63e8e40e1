"""docs/directory.md: each query answers what it says, by an index, and the permissions are those that suffice."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.tour.site import ROOT
from shared.core.directory.credentials import Credential, CredentialKind
from shared.core.directory.delta import Change, Edge, EdgeChange, ObjectState
from shared.core.directory.streams import APPLICATIONS, GROUPS, SERVICE_PRINCIPALS, STREAMS, USERS
from tests.adapters.database.directory_copy import OTHER_TENANT, TENANT, WHERE, Copy, Where, active, maker, oid
from tests.adapters.database.postgresql_server import ServerDatabase

PAGE = (ROOT / "docs" / "directory.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```\n\nPlan: (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
BY_ID, BY_NAME, BY_MAIL, GROUPS_OF, MEMBERS_OF, MANAGER_OF, BY_APP_ID, *ENDS = (query for query, _ in QUERIES)
ACTIVE, DELETED = ObjectState.ACTIVE, ObjectState.DELETED
DAY = 86_400.0


def runs_on(where: Where, query: str) -> bool:
    """Return whether the page has a query for a database: its first line names one, or it is for both."""
    other = "-- PostgreSQL" if isinstance(where, Path) else "-- SQLite"
    return not query.startswith(other)


def run(where: Where, query: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run a query of the page with nothing but the driver of the database."""
    if not isinstance(where, Path):
        return where.query(re.sub(r":([a-z_]+)", r"%(\1)s", query), parameters)
    with closing(sqlite3.connect(where)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, parameters)]


def group(number: int, *members: int) -> Change:
    """Make the change of a group; members from 100 on are users."""
    edges = {Edge("member", oid(each)): EdgeChange("users" if each >= 100 else "groups") for each in members}
    return Change(oid(number), ACTIVE, {}, edges)


class Tenant:
    """A round of the groups of a tenant, and one of its users, in one database."""

    def __init__(
        self, where: Where, groups: Sequence[Change], users: Sequence[Change], tenant_id: str = TENANT
    ) -> None:
        self.where = where
        for stream, changes in ((GROUPS, groups), (USERS, users)):
            with closing((copy := Copy(where, stream, tenant_id=tenant_id)).store):
                copy.round(*changes)

    def ask(self, query: str, **parameters: str) -> set[str]:
        """Run a query of the page; return the ids that it finds, each of which it finds once."""
        found = [row["id"] for row in run(self.where, query, {"tenant_id": TENANT, **parameters})]
        assert len(found) == len(set(found))
        return set(found)


@pytest.fixture(params=WHERE)
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Where]:
    """Make an empty database in each place."""
    return maker(request.param, tmp_path, request)


@pytest.fixture
def place(new_place: Callable[[], Where]) -> Where:
    """Where the database is."""
    return new_place()


def test_who_is_this(place: Where) -> None:
    """By id, and by name and mail in any case; of another tenant nobody is found."""
    guest = active(100, user_principal_name="Ann@x", mail="ann@home")
    Tenant(place, [], [active(101, user_principal_name="ANN@X", mail="ann@home")], OTHER_TENANT)
    tenant = Tenant(place, [], [guest, active(102, mail="ben@x")])
    assert tenant.ask(BY_ID, id=oid(100)) == tenant.ask(BY_NAME, name="ann@X") == {oid(100)}
    assert tenant.ask(BY_MAIL, mail="Ann@HOME") == {oid(100)}
    assert tenant.ask(BY_ID, id=oid(101)) == set()


def test_a_deleted_group_passes_nothing_on(place: Where) -> None:
    """DIR-15: A contains B contains C, and B lies in the recycle bin: nobody of C is in A."""
    tenant = Tenant(place, [group(1, 2, 100), group(2, 3), group(3, 101)], [active(100), active(101)])
    assert tenant.ask(MEMBERS_OF, id=oid(1)) == {oid(100), oid(101)}
    assert tenant.ask(GROUPS_OF, id=oid(101)) == {oid(1), oid(2), oid(3)}
    with closing((copy := Copy(place, GROUPS)).store):
        copy.round(Change(oid(2), DELETED))
    assert tenant.ask(MEMBERS_OF, id=oid(1)) == {oid(100)}
    assert tenant.ask(GROUPS_OF, id=oid(101)) == {oid(3)}


NUMBERS = (*range(6), *range(100, 104))
graphs = st.dictionaries(st.sampled_from(NUMBERS[:6]), st.sets(st.sampled_from(NUMBERS), max_size=4), max_size=6)


@pytest.mark.slow
@pytest.mark.parametrize("new_place", ["a file", pytest.param("PostgreSQL", marks=pytest.mark.nightly)], indirect=True)
@given(graph=graphs, deleted=st.sets(st.sampled_from(NUMBERS)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_memberships_are_those_of_a_model(
    new_place: Callable[[], Where], graph: Mapping[int, set[int]], deleted: set[int]
) -> None:
    """DIR-15: also where groups contain each other; nobody is in a group by way of a deleted one."""
    place = new_place()
    groups = [group(number, *graph.get(number, ())) for number in NUMBERS[:6]]
    tenant = Tenant(place, groups, [active(number) for number in NUMBERS[6:]])
    Tenant(place, [Change(oid(number), DELETED) for number in deleted if number < 100],
           [Change(oid(number), DELETED) for number in deleted if number >= 100])  # fmt: skip

    def members(number: int, seen: set[int]) -> set[int]:
        if number in deleted or number in seen:
            return set()
        seen.add(number)
        return {number}.union(*(members(each, seen) for each in graph.get(number, ())))

    inside = {number: members(number, set()) for number in NUMBERS[:6]}
    for number in NUMBERS[:6]:
        assert tenant.ask(MEMBERS_OF, id=oid(number)) == {oid(each) for each in inside[number] if each >= 100}
    for user in NUMBERS[6:]:
        assert tenant.ask(GROUPS_OF, id=oid(user)) == {oid(each) for each in inside if user in inside[each]}


PERSON, SET, APP = 1_000, 5_000, 7_000
"""The first of each."""
MANY, FEW = 2_000, 20
"""With many people it pays to use an index."""
PARAMETERS = {
    "tenant_id": TENANT,
    "id": oid(PERSON + 1),
    "name": f"U{PERSON + 1}@x",
    "mail": f"u{PERSON + 1}@x",
    "app_id": oid(APP + 1),
    "days": "3",
}


def fill(where: Where, people: int, tenant_id: str = TENANT) -> None:
    """Make a tenant in which each query of the page finds something."""
    boss = {Edge("manager", oid(PERSON)): EdgeChange("users")}
    users = [
        Change(oid(each), ACTIVE, {"user_principal_name": f"u{each}@x", "mail": f"U{each}@x"}, boss)
        for each in range(PERSON, PERSON + people)
    ]
    sets = [
        group(SET + each, *(PERSON + (each * 7 + place) % people for place in range(20)))
        for each in range(people // 10)
    ]
    Tenant(where, [*sets, group(1, 2), group(2, PERSON + 1)], users, tenant_id)
    now = time.time()
    for stream, offset in ((SERVICE_PRINCIPALS, 10_000), (APPLICATIONS, 20_000)):
        with closing((copy := Copy(where, stream, tenant_id=tenant_id)).store):
            copy.round(
                *(
                    Change(
                        oid(offset + each),
                        ACTIVE,
                        {"app_id": oid(APP + each), "display_name": "x" * 200},
                        {},
                        {CredentialKind.KEY: {oid(each): Credential(None, None, None, now + (each * 10 + 1) * DAY)}},
                    )
                    for each in range(people // 2)
                )
            )


def steps_of_sqlite(file: Path, query: str) -> list[str]:
    """Return the searches of a query in their order, each as the page writes it: a table with the columns of it."""

    def written(step: str) -> str:
        found = re.fullmatch(
            r"SEARCH (\w+) USING (?:(?:COVERING )?INDEX (\w+)|(?:INTEGER )?PRIMARY KEY) \((.*)\)", step
        )
        assert found, step
        table, index, terms = found.groups()
        if "<expr>" in terms:
            return f"`{table}(lower({index.removeprefix(f'{table}_')}))`"
        return f"`{table}({', '.join(dict.fromkeys(re.findall(r'([a-z_]+)[=<>]', terms)))})`"

    with closing(sqlite3.connect(file)) as connection:
        steps = [row[3] for row in connection.execute(f"explain query plan {query}", PARAMETERS)]
    assert [step for step in steps if step.startswith("SCAN") and step != "SCAN inside"] == []
    return [written(step) for step in steps if step.startswith("SEARCH")]


def steps_of_postgresql(database: ServerDatabase, query: str) -> list[str]:
    """Return the searches of a query in the same form. PostgreSQL has no rowid: the number of an object is a column."""

    def searches(node: Mapping[str, Any], name: str = "") -> Iterator[str]:
        assert node["Node Type"] != "Seq Scan", node
        name = re.sub(r"_\d+$", "", node.get("Alias", name))  # the planner numbers what a view names twice
        if "Index Name" in node:
            condition = re.sub(r"'[^']*'|::\w+", "", node["Index Cond"])
            columns = ", ".join(dict.fromkeys(re.findall(r"(\w+)\)* (?:=|<|>=) ", condition)))
            yield f"`{name}(lower({columns}))`" if "lower(" in condition else f"`{name}({columns})`"
        for each in node.get("Plans", ()):
            yield from searches(each, name)

    (row,) = run(database, f"explain (format json) {query}", PARAMETERS)
    return list(searches(row["QUERY PLAN"][0]["Plan"]))


def test_a_query_has_its_plan(place: Where) -> None:
    """Each step is a search by an index or a key, as the page says. An edge is found by an end, and not by its kind."""
    fill(place, MANY)
    if not isinstance(place, Path):
        place.execute("ANALYZE")  # as the server does by itself, a minute after a copy
    for query, plan in QUERIES:
        steps = re.findall(r"`[^`]+`", plan)
        if not runs_on(place, query):
            continue
        if isinstance(place, Path):
            assert steps_of_sqlite(place, query) == steps, query
        else:
            expected = sorted(step.replace("rowid", "object") for step in steps)
            assert sorted(steps_of_postgresql(place, query)) == expected, query


def test_a_query_finds_what_is_of_one_tenant(place: Where) -> None:
    """Of two tenants with the same objects, such as guests, a query finds those of the one that it names."""
    queries = [query for query, _ in QUERIES if runs_on(place, query)]
    asked = [(query, PARAMETERS | {"id": oid(number)}) for query in queries for number in (PERSON + 1, 1)]

    def found() -> list[list[str]]:
        return [sorted(map(str, run(place, query, parameters))) for query, parameters in asked]

    fill(place, FEW, OTHER_TENANT)
    assert [rows for rows in found() if rows] == []
    fill(place, FEW)
    with_both = found()
    assert all(first or second for first, second in zip(with_both[::2], with_both[1::2], strict=True))
    assert [rows for rows in with_both if len(rows) != len(set(rows))] == []


def test_no_query_is_without_its_plan() -> None:
    """Each block of SQL is followed by one."""
    assert PAGE.count("```sql") == len(QUERIES)


def test_the_manager_of_a_user(place: Where) -> None:
    """An edge of the user's."""
    boss = {Edge("manager", oid(101)): EdgeChange("users")}
    tenant = Tenant(place, [], [Change(oid(100), ACTIVE, {}, boss), active(101)])
    assert tenant.ask(MANAGER_OF, id=oid(100)) == {oid(101)}
    assert tenant.ask(MANAGER_OF, id=oid(101)) == set()


def test_applications_and_what_ends(place: Where) -> None:
    """By the client ID both objects are found; what ends is sorted, and is neither over nor later than asked."""
    now = time.time()
    ends = {1: now + 2 * DAY, 2: now + 40 * DAY, 3: now - DAY, 4: now + DAY, 5: 253_402_300_799.0}
    held = {oid(number): Credential(None, None, None, end) for number, end in ends.items()}
    for stream, number in ((SERVICE_PRINCIPALS, 200), (APPLICATIONS, 201)):
        change = Change(oid(number), ACTIVE, {"app_id": "x", "display_name": "x"}, {}, {CredentialKind.KEY: held})
        with closing((copy := Copy(place, stream)).store):
            copy.round(change)
    parameters = {"tenant_id": TENANT, "app_id": "x", "days": "30"}
    found = run(place, BY_APP_ID, parameters)
    assert {(row["stream"], row["id"]) for row in found} == {
        ("servicePrincipals", oid(200)),
        ("applications", oid(201)),
    }
    (ends_soon,) = (query for query in ENDS if runs_on(place, query))
    rows = run(place, ends_soon, parameters)
    assert [{row["id"] for row in rows[:2]}, {row["id"] for row in rows[2:]}] == [{oid(200), oid(201)}] * 2
    assert [row["ends_at"] for row in rows] == sorted(row["ends_at"] for row in rows)
    assert len(rows) == 4


def test_every_stream_has_its_permission() -> None:
    """The table names each stream that vend has."""
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", PAGE, re.MULTILINE)
    assert rows == [(stream.name, stream.permission) for stream in STREAMS.values()]
