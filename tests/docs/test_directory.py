"""docs/directory.md: each query answers what it says, by an index, and the permissions are those that suffice."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.tour.site import ROOT
from shared.core.directory.delta import Change, Edge, EdgeChange, ObjectState
from shared.core.directory.streams import GROUPS, STREAMS, USERS
from tests.adapters.database.directory_copy import OTHER_TENANT, TENANT, Copy, active, oid

PAGE = (ROOT / "docs" / "directory.md").read_text()
BY_ID, BY_NAME, BY_MAIL, GROUPS_OF, MEMBERS_OF = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("query", [BY_ID, BY_NAME, BY_MAIL, GROUPS_OF, MEMBERS_OF])
def test_a_query_reads_no_whole_table(file: Path, query: str) -> None:
    """Each step of its plan is a search by an index or a key."""
    tenant = Tenant(file, [group(1, 100)], [active(100)])
    names = {"tenant_id": TENANT, "id": "x", "name": "x", "mail": "x"}
    with closing(sqlite3.connect(tenant.file)) as connection:
        plan = [row[3] for row in connection.execute(f"explain query plan {query}", names)]
    assert [step for step in plan if step.startswith("SCAN") and step != "SCAN inside"] == []


def test_every_stream_has_its_permission() -> None:
    """The table names each stream that vend has."""
    rows = re.findall(r"^\| `(\w+)` \| `[\w.]+` \|$", PAGE, re.MULTILINE)
    assert rows == list(STREAMS)
