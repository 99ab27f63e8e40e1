"""Delta query of every kind of object: its rows by a table, its pages and its tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.credentials import password_credential
from emulator.directory.kinds import GROUPS, KINDS, MEMBERS, USERS
from emulator.graph.permissions import HIDDEN_MEMBERS, ROLES
from emulator.graph.switches import TOKEN_REFUSALS
from tests.emulator.client import Clock
from tests.emulator.graph_reader import Reader, Row
from tests.tables import case_id, cases

MEMBER_ROUND = "/v1.0/groups/delta?$select=members"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case of tests/data/delta.toml, which describes the fields."""

    id: str
    kind: str
    steps: tuple[tuple[Any, ...], ...]
    select: str | None = None
    switches: dict[str, Any] | None = None
    roles: tuple[str, ...] = (HIDDEN_MEMBERS,)
    then: tuple[tuple[Any, ...], ...] = ()
    minimal: bool = False
    first: tuple[dict[str, Any], ...] | None = None
    second: tuple[dict[str, Any], ...] | None = None


@pytest.fixture
def reader(cloud: LocalCloud, http: httpx.Client) -> Iterator[Reader]:
    """A reader with every permission. Afterwards the switches are as they were; time only goes on."""
    yield Reader(cloud, http)
    cloud.graph.delta.reset()
    cloud.objects.purged_edges_seconds = None


@dataclass
class Story:
    """Changes named objects."""

    cloud: LocalCloud
    clock: Clock
    ids: dict[str, str]

    def tell(self, verb: str, *rest: Any) -> None:  # noqa: ANN401 - the arguments of a table
        """Make one change."""
        objects = self.cloud.objects
        match verb, rest:
            case "create", (kind, name, values):
                given = {key: _hard(value) for key, value in values.items() if key != "@odata.type"}
                self.ids[name] = objects.create(KINDS[kind], given, type_=values.get("@odata.type"))
            case "update", (name, values):
                objects.update(self.ids[name], values)
            case "clear", (name, key):
                objects.update(self.ids[name], {key: None})
            case (("delete" | "restore" | "purge"), (name,)):
                getattr(objects, verb)(self.ids[name])
            case (("link" | "unlink"), (relation, source, target)):
                getattr(objects, verb)(relation, self.ids[source], self.ids[target])
            case "secret", (name, secret, end):
                added = password_credential(secret, name=secret, start="2026-01-01T00:00:00Z", end=end)
                objects.add_credential(self.ids[name], added)
            case "no_secret", (name, secret):
                objects.remove_credential(self.ids[name], secret)
            case "purged_edges", (seconds,):
                objects.purged_edges_seconds = seconds
            case "tick", (seconds,):
                self.clock.moment += seconds
            case _:
                raise ValueError(f"no such step: {verb} {rest}")

    def named(self, rows: list[Row]) -> list[Row]:
        """Return the rows of named objects, with names in place of ids."""
        names = {object_id: name for name, object_id in self.ids.items()}
        return [{key: _shown(value, names) for key, value in row.items()} for row in rows if row["id"] in names]


def _hard(value: object) -> object:
    return "half \ud83d" if value == "SURROGATE" else value


def _shown(value: object, names: dict[str, str]) -> object:
    match value:
        case None:
            return "null"
        case "half \ud83d":
            return "SURROGATE"
        case str():
            return names.get(value, value)
        case list():
            return [_shown_entry(each, names) for each in value]
    return value


def _shown_entry(entry: Row, names: dict[str, str]) -> str:
    if "endDateTime" in entry:
        assert entry["secretText"] is None
        return f"{entry['displayName']} until {entry['endDateTime']}"
    assert entry.get("@removed") in (None, {"reason": "deleted"})
    type_ = entry["@odata.type"].removeprefix("#microsoft.graph.")
    return f"{'-' if '@removed' in entry else '+'}{names[entry['id']]} {type_}"


@pytest.mark.parametrize("case", cases("delta.toml", Case), ids=case_id)
def test_a_round_tells(cloud: LocalCloud, clock: Clock, reader: Reader, case: Case) -> None:
    """The rows of a first round and of a second one."""
    reader.roles = ROLES - {HIDDEN_MEMBERS} | frozenset(case.roles)
    cloud.graph.delta.read(case.switches or {})
    headers = {"prefer": "return=minimal"} if case.minimal else {}
    story = Story(cloud, clock, {})
    for step in case.steps:
        story.tell(*step)

    rows, link = reader.round(f"/v1.0/{case.kind}/delta" + (f"?$select={case.select}" if case.select else ""))
    if case.first is not None:
        assert story.named(rows) == list(case.first)
    for step in case.then:
        story.tell(*step)
    if case.second is not None:
        assert story.named(reader.round(link, **headers)[0]) == list(case.second)


def test_a_large_group_comes_in_slices(cloud: LocalCloud, reader: Reader) -> None:
    """The same group is on page after page, each time with other members, and with its properties."""
    users = [cloud.objects.create(USERS, {}) for _ in range(7)]
    team = cloud.objects.create(GROUPS, {"displayName": "Team"})
    _, link = reader.round("/v1.0/groups/delta?$deltatoken=latest&$select=displayName,members")
    for user in users:
        cloud.objects.link(MEMBERS, team, user)
    reader.pages.clear()
    cloud.graph.delta.links_per_page = 3

    reader.round(link)

    assert [[(row["id"], row["displayName"]) for row in page["value"]] for page in reader.pages] == [
        [(team, "Team")]
    ] * 3
    slices = [[each["id"] for each in page["value"][0]["members@delta"]] for page in reader.pages]
    assert slices == [users[:3], users[3:6], users[6:]]


def test_members_that_change_between_two_slices_are_not_lost(cloud: LocalCloud, reader: Reader) -> None:
    """The slices are those of one moment, and the next round has the difference."""
    ann, bob, cyd = (cloud.objects.create(USERS, {}) for _ in range(3))
    team = cloud.objects.create(GROUPS, {})
    for user in (ann, bob):
        cloud.objects.link(MEMBERS, team, user)
    cloud.graph.delta.links_per_page = 1
    pages: list[Row] = []
    url = MEMBER_ROUND
    while not pages or "@odata.nextLink" in pages[-1]:
        pages.append(reader.page(url))
        url = pages[-1].get("@odata.nextLink", "")
        if any(row["id"] == team for row in pages[-1]["value"]) and bob in cloud.objects.edges(MEMBERS, team):
            cloud.objects.unlink(MEMBERS, team, bob)
            cloud.objects.link(MEMBERS, team, cyd)
    told = [each["id"] for page in pages for row in page["value"] if row["id"] == team for each in row["members@delta"]]

    rows, _ = reader.round(pages[-1]["@odata.deltaLink"])

    assert told == [ann, bob]
    later = {each["id"]: "@removed" in each for row in rows if row["id"] == team for each in row["members@delta"]}
    assert later == {bob: True, cyd: False}


def test_a_removal_during_a_first_round_is_told_in_it(cloud: LocalCloud, reader: Reader) -> None:
    """On a later page of the same round, and once more in the next round."""
    ann = cloud.objects.create(USERS, {})
    cloud.graph.delta.page_size = 5
    first = reader.page("/v1.0/users/delta?$select=mail")
    cloud.objects.delete(ann)

    rows, link = reader.round(first["@odata.nextLink"])

    removed = {"id": ann, "@removed": {"reason": "changed"}}
    assert removed in rows
    assert reader.round(link)[0] == [removed]


def test_pages_of_groups_vary(cloud: LocalCloud, reader: Reader) -> None:
    """Groups come by the sizes of a switch, over and over, where users have one size."""
    cloud.graph.delta.group_page_sizes = (3, 1)
    rows, _ = reader.round("/v1.0/groups/delta?$select=displayName")

    sizes = [len(page["value"]) for page in reader.pages]
    assert sizes[:4] == [3, 1, 3, 1]
    assert sum(sizes) == len(rows)


def test_empty_pages_stand_before_and_between_others(cloud: LocalCloud, reader: Reader) -> None:
    """As many as the switches say; the delta link comes with the last rows."""
    cloud.graph.delta.read({"page_size": 8, "empty_pages_first": 2, "empty_pages_between": 1})
    for _ in range(20 - sum(1 for _ in cloud.objects.active(USERS))):
        cloud.objects.create(USERS, {})

    reader.round("/v1.0/users/delta?$select=mail")

    sizes = [len(page["value"]) for page in reader.pages]
    assert sizes[:5] == [0, 0, 8, 0, 8]
    assert sizes[-1]


def test_the_same_page_comes_for_ever(cloud: LocalCloud, reader: Reader) -> None:
    """Each time the rows are the same and the next link is another one, until the switch is off."""
    cloud.graph.delta.same_page_for_ever = True
    first = reader.page("/v1.0/users/delta?$select=mail")
    second = reader.page(first["@odata.nextLink"])
    third = reader.page(second["@odata.nextLink"])

    assert first["value"] == second["value"] == third["value"] != []
    assert len({page["@odata.nextLink"] for page in (first, second, third)}) == 3
    cloud.graph.delta.same_page_for_ever = False
    assert "@odata.deltaLink" in reader.page(third["@odata.nextLink"])


def test_expand_selects_members_as_older_pages_say(cloud: LocalCloud, reader: Reader) -> None:
    """By a switch; else the option is ignored."""
    team = cloud.objects.create(GROUPS, {})
    cloud.objects.link(MEMBERS, team, cloud.objects.create(USERS, {}))
    found = []
    for selects in (True, False):
        cloud.graph.delta.expand_selects = selects
        rows, _ = reader.round("/v1.0/groups/delta?$select=displayName&$expand=members")
        found.append(any("members@delta" in row for row in rows))
    assert found == [True, False]


@pytest.mark.parametrize("name", TOKEN_REFUSALS)
def test_a_page_token_is_refused_in_every_known_way(cloud: LocalCloud, clock: Clock, reader: Reader, name: str) -> None:
    """It lives as long as the switch says. Only a 410 has the address of a new round."""
    cloud.graph.delta.read({"page_size": 5, "page_token_seconds": 300, "page_refusal": name})
    link = reader.page("/v1.0/users/delta?$select=mail")["@odata.nextLink"]
    clock.moment += 300
    assert reader.ask(link).status_code == 200
    clock.moment += 1

    answer, wanted = reader.ask(link), TOKEN_REFUSALS[name]

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (wanted.status, wanted.code, wanted.message)
    assert ("location" in answer.headers) is (wanted.status == 410)


def test_so_many_next_links_are_refused(cloud: LocalCloud, reader: Reader) -> None:
    """Page 2 of a round is refused once, and the same link is good again."""
    cloud.graph.delta.read({"page_size": 5, "refused_next_links": 1, "page_refusal": "gone"})
    link = reader.page("/v1.0/users/delta?$select=mail")["@odata.nextLink"]

    assert [reader.ask(link).status_code for _ in range(2)] == [410, 200]


def test_links_are_revoked(cloud: LocalCloud, reader: Reader) -> None:
    """Every link until now is refused, and a new round can begin."""
    _, link = reader.round("/v1.0/users/delta?$select=mail")
    cloud.graph.revoke_tokens()

    assert reader.ask(link).json()["error"]["code"] == "syncStateNotFound"
    assert reader.round("/v1.0/users/delta?$select=mail")[0]


def test_a_link_is_good_for_its_own_kind_alone(reader: Reader) -> None:
    """The token of another kind is as good as a changed one."""
    _, link = reader.round("/v1.0/users/delta?$select=displayName")

    answer = reader.ask(link.replace("/users/", "/groups/"))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


def test_a_page_takes_its_time(cloud: LocalCloud, reader: Reader) -> None:
    """By the clock of the cloud, which nobody waits for."""
    passed: list[float] = []
    advance, cloud.graph.pass_time = cloud.graph.pass_time, passed.append
    cloud.graph.delta.page_seconds = 30
    reader.page("/v1.0/users/delta?$select=mail")
    cloud.graph.pass_time = advance

    assert passed == [30]


def test_links_lead_to_another_host(cloud: LocalCloud, reader: Reader) -> None:
    """As a hostile answer does."""
    cloud.graph.delta.link_root = "https://evil.example"
    page = reader.page("/v1.0/users/delta?$select=mail")
    assert page["@odata.deltaLink"].startswith("https://evil.example/v1.0/users/delta?$deltatoken=")
