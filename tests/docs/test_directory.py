"""docs/directory.md: each query answers what it says, by an index, and the permissions are those that suffice."""

import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.tour.site import ROOT
from shared.core.directory.credentials import Credential, CredentialKind
from shared.core.directory.delta import Change, Edge, EdgeChange, ObjectState
from shared.core.directory.streams import APPLICATIONS, GROUPS, SERVICE_PRINCIPALS, STREAMS, USERS
from tests.adapters.database.directory_copy import OTHER_TENANT, TENANT, Copy, active, oid

PAGE = (ROOT / "docs" / "directory.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```\n\nPlan: (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
BY_ID, BY_NAME, BY_MAIL, GROUPS_OF, MEMBERS_OF, MANAGER_OF, BY_APP_ID, ENDS = (query for query, _ in QUERIES)
NAMES = {"tenant_id": TENANT, "id": "x", "name": "x", "mail": "x", "app_id": "x", "days": "30"}
ACTIVE, DELETED = ObjectState.ACTIVE, ObjectState.DELETED


def group(number: int, *members: int) -> Change:
    """Make the change of a group; members from 100 on are users."""
    edges = {Edge("member", oid(each)): EdgeChange("users" if each >= 100 else "groups") for each in members}
    return Change(oid(number), ACTIVE, {}, edges)


class Tenant:
    """A round of the groups of a tenant, and one of its users, in one file."""

    def __init__(self, file: Path, groups: Sequence[Change], users: Sequence[Change], tenant_id: str = TENANT) -> None:
        self.file = file
        for stream, changes in ((GROUPS, groups), (USERS, users)):
            with closing((copy := Copy(file, stream, tenant_id=tenant_id)).store):
                copy.round(*changes)

    def ask(self, query: str, **parameters: str) -> set[str]:
        """Run a query of the page; return the ids that it finds, each of which it finds once."""
        with closing(sqlite3.connect(self.file)) as connection:
            connection.row_factory = sqlite3.Row
            found = [row["id"] for row in connection.execute(query, {"tenant_id": TENANT, **parameters})]
        assert len(found) == len(set(found))
        return set(found)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "directory.db"


def test_who_is_this(file: Path) -> None:
    """By id, and by name and mail in any case; of another tenant nobody is found."""
    guest = active(100, user_principal_name="Ann@x", mail="ann@home")
    Tenant(file, [], [active(101, user_principal_name="ANN@X", mail="ann@home")], OTHER_TENANT)
    tenant = Tenant(file, [], [guest, active(102, mail="ben@x")])
    assert tenant.ask(BY_ID, id=oid(100)) == tenant.ask(BY_NAME, name="ann@X") == {oid(100)}
    assert tenant.ask(BY_MAIL, mail="Ann@HOME") == {oid(100)}
    assert tenant.ask(BY_ID, id=oid(101)) == set()


def test_a_deleted_group_passes_nothing_on(file: Path) -> None:
    """DIR-15: A contains B contains C, and B lies in the recycle bin: nobody of C is in A."""
    tenant = Tenant(file, [group(1, 2, 100), group(2, 3), group(3, 101)], [active(100), active(101)])
    assert tenant.ask(MEMBERS_OF, id=oid(1)) == {oid(100), oid(101)}
    assert tenant.ask(GROUPS_OF, id=oid(101)) == {oid(1), oid(2), oid(3)}
    with closing((copy := Copy(file, GROUPS)).store):
        copy.round(Change(oid(2), DELETED))
    assert tenant.ask(MEMBERS_OF, id=oid(1)) == {oid(100)}
    assert tenant.ask(GROUPS_OF, id=oid(101)) == {oid(3)}


NUMBERS = (*range(6), *range(100, 104))
graphs = st.dictionaries(st.sampled_from(NUMBERS[:6]), st.sets(st.sampled_from(NUMBERS), max_size=4), max_size=6)


@pytest.mark.slow
@given(graph=graphs, deleted=st.sets(st.sampled_from(NUMBERS)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_memberships_are_those_of_a_model(
    tmp_path_factory: pytest.TempPathFactory, graph: Mapping[int, set[int]], deleted: set[int]
) -> None:
    """DIR-15: also where groups contain each other; nobody is in a group by way of a deleted one."""
    file = tmp_path_factory.mktemp("graph") / "directory.db"
    groups = [group(number, *graph.get(number, ())) for number in NUMBERS[:6]]
    tenant = Tenant(file, groups, [active(number) for number in NUMBERS[6:]])
    Tenant(file, [Change(oid(number), DELETED) for number in deleted if number < 100],
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


def planned(step: str) -> str:
    """Write a step of SQLite's plan as the page does: a table with the columns of the search."""
    found = re.fullmatch(r"SEARCH (\w+) USING (?:(?:COVERING )?INDEX (\w+)|(?:INTEGER )?PRIMARY KEY) \((.*)\)", step)
    assert found, step
    table, index, terms = found.groups()
    if "<expr>" in terms:
        return f"`{table}(lower({index.removeprefix(f'{table}_')}))`"
    return f"`{table}({', '.join(dict.fromkeys(re.findall(r'([a-z_]+)[=<>]', terms)))})`"


@pytest.mark.parametrize(("query", "plan"), QUERIES)
def test_a_query_has_its_plan(file: Path, query: str, plan: str) -> None:
    """Each step is a search by an index or a key, as the page says. An edge is found by an end, and not by its kind."""
    tenant = Tenant(file, [group(1, 100)], [active(100)])
    with closing(sqlite3.connect(tenant.file)) as connection:
        steps = [row[3] for row in connection.execute(f"explain query plan {query}", NAMES)]
    assert [step for step in steps if step.startswith("SCAN") and step != "SCAN inside"] == []
    assert [planned(step) for step in steps if step.startswith("SEARCH")] == re.findall(r"`[^`]+`", plan)


def test_no_query_is_without_its_plan() -> None:
    """Each block of SQL is followed by one."""
    assert PAGE.count("```sql") == len(QUERIES)


def test_the_manager_of_a_user(file: Path) -> None:
    """An edge of the user's."""
    boss = {Edge("manager", oid(101)): EdgeChange("users")}
    tenant = Tenant(file, [], [Change(oid(100), ACTIVE, {}, boss), active(101)])
    assert tenant.ask(MANAGER_OF, id=oid(100)) == {oid(101)}
    assert tenant.ask(MANAGER_OF, id=oid(101)) == set()


def test_applications_and_what_ends(file: Path) -> None:
    """By the client id both objects are found; what ends is sorted, and is neither over nor later than asked."""
    now, day = time.time(), 86_400.0
    ends = {1: now + 2 * day, 2: now + 40 * day, 3: now - day, 4: now + day, 5: 253_402_300_799.0}
    held = {oid(number): Credential(None, None, None, end) for number, end in ends.items()}
    for stream, number in ((SERVICE_PRINCIPALS, 200), (APPLICATIONS, 201)):
        change = Change(oid(number), ACTIVE, {"app_id": "x", "display_name": "x"}, {}, {CredentialKind.KEY: held})
        with closing((copy := Copy(file, stream)).store):
            copy.round(change)
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute(BY_APP_ID, NAMES).fetchall()
        assert {row[:2] for row in found} == {("servicePrincipals", oid(200)), ("applications", oid(201))}
        connection.row_factory = sqlite3.Row
        rows = connection.execute(ENDS, NAMES).fetchall()
    assert [{row["id"] for row in rows[:2]}, {row["id"] for row in rows[2:]}] == [{oid(200), oid(201)}] * 2
    assert [row["ends_at"] for row in rows] == sorted(row["ends_at"] for row in rows)
    assert len(rows) == 4


def test_every_stream_has_its_permission() -> None:
    """The table names each stream that vend has."""
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", PAGE, re.MULTILINE)
    assert rows == [(stream.name, stream.permission) for stream in STREAMS.values()]
