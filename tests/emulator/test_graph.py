import ssl
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from threading import RLock

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.object_store import ObjectStore
from emulator.directory.people import People, Person
from emulator.directory.population import Size
from emulator.graph.switches import GONE
from emulator.seed import CLIENT_ID, GRAPH, ORDERS, TENANT_ID
from tests.emulator.client import Clock, graph_token
from tests.emulator.graph_reader import Reader, Row

DAY = 86400
SELECT = "department,jobTitle,mobilePhone,manager"
USERS = f"/v1.0/users/delta?$select={SELECT}"


@pytest.fixture
def reader(cloud: LocalCloud, clock: Clock, http: httpx.Client) -> Iterator[Reader]:
    """A reader of the shared cloud; a test may change whom it adds, and afterwards all is as it was."""
    graph, now, before = cloud.graph, clock.moment, cloud.people.tenant()
    yield Reader(cloud, http)
    graph.delta.reset()
    for user_id in cloud.people.tenant().keys() - before:
        cloud.people.purge(user_id)
    assert cloud.people.tenant() == before, "a test that changes others needs a cloud of its own"
    clock.moment = now


@pytest.mark.parametrize("name", ["the public name", "the cloud's own"])
def test_a_token_of_entra_opens_graph(
    cloud: LocalCloud, http: httpx.Client, clock: Clock, client_secret: str, name: str
) -> None:
    """A token for either name of Graph is good here, and the request is remembered."""
    scope = f"{GRAPH if name == 'the public name' else cloud.graph_url}/.default"
    form = {
        "grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": client_secret, "scope": scope
    }  # fmt: skip
    issued = http.post(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", data=form).json()["access_token"]

    answer = http.get(f"{cloud.graph_url}/v1.0/users?$top=2", headers={"authorization": f"Bearer {issued}"})

    assert answer.status_code == 200
    seen = cloud.graph.requests[-1]
    assert (seen.time, seen.path, seen.status, seen.rows) == (clock(), "/v1.0/users", 200, 2)


@pytest.mark.parametrize(
    ("why", "status", "code"),
    [
        ("no token", 401, "InvalidAuthenticationToken"),
        ("basic", 401, "InvalidAuthenticationToken"),
        ("changed", 401, "InvalidAuthenticationToken"),
        ("for another API", 401, "InvalidAuthenticationToken"),
        ("expired", 401, "InvalidAuthenticationToken"),
        ("without a role that reads users", 403, "Authorization_RequestDenied"),
    ],
)
def test_a_token_that_is_not_good_is_refused_in_graphs_words(
    cloud: LocalCloud, clock: Clock, reader: Reader, why: str, status: int, code: str
) -> None:
    """Everything that a Microsoft service looks at is looked at, and the refusal names the request."""
    tokens = {
        "changed": graph_token(cloud)[:-8] + "AAAAAAAA",
        "for another API": graph_token(cloud, resource=ORDERS),
        "without a role that reads users": graph_token(cloud, roles=frozenset({"Group.Read.All"})),
    }
    header = {"no token": "", "basic": "Basic eDp5"}.get(why, f"Bearer {tokens.get(why, graph_token(cloud))}")
    clock.moment += 3600 if why == "expired" else 0

    answer = reader.http.get(
        f"{cloud.graph_url}/v1.0/users/delta", headers={"authorization": header, "client-request-id": "mine"}
    )

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["innerError"].keys() == {"date", "request-id", "client-request-id"}
    assert answer.headers["request-id"] == error["innerError"]["request-id"]
    assert answer.headers["client-request-id"] == "mine"
    assert ("www-authenticate" in answer.headers) is (status == 401)


def test_a_page_has_at_most_200_people_whatever_is_asked(cloud: LocalCloud, reader: Reader) -> None:
    """`$top` is ignored, a larger page size too; both forms of the address begin a round that has everybody."""
    for number in range(200):
        cloud.people.add(displayName=f"Extra {number}")
    cloud.people.remove(cloud.people.add(displayName="In the recycle bin"))
    cloud.graph.delta.page_size = 1000
    for form in ("delta", "microsoft.graph.delta", "microsoft.graph.delta()"):
        reader.pages.clear()

        rows, _ = reader.round(f"/v1.0/users/{form}?$top=5")

        assert [len(page["value"]) for page in reader.pages] == [200, len(rows) - 200]
        assert {row["id"] for row in rows} == active(cloud.people).keys()


ROW_CASES: list[tuple[str, list[tuple[str, Row]], Row | None, Row | None]] = [
    (
        "all that is selected comes, what was never set does not",
        [("update", {"department": "Legal"})],
        {"department": "Legal", "jobTitle": "Lead"},
        {"department": "Legal"},
    ),
    (
        "what was cleared is null",
        [("update", {"jobTitle": None})],
        {"department": "Sales", "jobTitle": None},
        {"jobTitle": None},
    ),
    ("what is not selected is not told", [("update", {"city": "Lagos"})], None, None),
    (
        "a new manager comes with the end of the old one",
        [("update", {"manager": "new"})],
        {"department": "Sales", "jobTitle": "Lead", "manager@delta": ["-old", "+new"]},
        {"manager@delta": ["-old", "+new"]},
    ),
    (
        "nobody as manager is the end of the old one",
        [("update", {"manager": None})],
        {"department": "Sales", "jobTitle": "Lead", "manager@delta": ["-old"]},
        {"manager@delta": ["-old"]},
    ),
    (
        "a manager who is one again is no former one",
        [("update", {"manager": "new"}), ("update", {"manager": "old"})],
        {"department": "Sales", "jobTitle": "Lead", "manager@delta": ["-new", "+old"]},
        {"manager@delta": ["-new", "+old"]},
    ),
    (
        "several changes are one row",
        [("update", {"jobTitle": "Engineer"}), ("update", {"department": "Legal"})],
        {"department": "Legal", "jobTitle": "Engineer"},
        {"department": "Legal", "jobTitle": "Engineer"},
    ),
    ("in the recycle bin", [("remove", {})], {"@removed": {"reason": "changed"}}, {"@removed": {"reason": "changed"}}),
    (
        "gone for good",
        [("remove", {}), ("purge", {})],
        {"@removed": {"reason": "deleted"}},
        {"@removed": {"reason": "deleted"}},
    ),
    (
        "restored people come whole, and without an annotation",
        [("remove", {}), ("restore", {})],
        {"department": "Sales", "jobTitle": "Lead", "manager@delta": ["+old"]},
        {"department": "Sales", "jobTitle": "Lead", "manager@delta": ["+old"]},
    ),
]


@pytest.mark.parametrize(("rule", "steps", "full", "minimal"), ROW_CASES, ids=[case[0] for case in ROW_CASES])
def test_the_next_round_tells_what_changed(
    cloud: LocalCloud, reader: Reader, rule: str, steps: list[tuple[str, Row]], full: Row | None, minimal: Row | None
) -> None:
    """One row for each person with a change in what is selected, whole or with `return=minimal` only the change."""
    assert rule
    people = cloud.people
    managers = {"old": people.add(), "new": people.add()}
    user_id = people.add(department="Sales", jobTitle="Lead", manager=managers["old"])
    _, link = reader.round(USERS)

    for method, values in steps:
        changes = {name: managers.get(value, value) for name, value in values.items()}
        getattr(people, method)(user_id, **changes)

    for expected, headers in ((full, {}), (minimal, {"prefer": "odata.maxpagesize=5, return=minimal"})):
        rows, _ = reader.round(link, **headers)
        assert [_named(row, managers) for row in rows] == ([{"id": user_id, **expected}] if expected else [])


def test_changes_are_told_once_and_from_now_on(cloud: LocalCloud, reader: Reader) -> None:
    """A delta link tells what came after it, `latest` begins with nothing, and a link can be read again."""
    rows, link = reader.round("/v1.0/users/delta?$deltaToken=latest&$select=city")
    assert rows == []
    user_id = cloud.people.add(city="Pune", department="not selected")

    rows, following = reader.round(link)
    assert rows == reader.round(link)[0] == [{"id": user_id, "city": "Pune"}]
    assert reader.round(following)[0] == []


def test_a_switch_makes_the_rounds_harder(tmp_path: Path) -> None:
    """Another order, people twice, the last round's changes once more, a first page with nobody on it.

    The cloud is its own: in an order of everybody who was ever here, those of other tests have places too.
    """
    with LocalCloud(tmp_path) as cloud, httpx.Client(verify=ssl.create_default_context(cafile=cloud.ca_file)) as http:
        switches, people, reader = cloud.graph.delta, cloud.people, Reader(cloud, http)
        plain, link = reader.round(USERS)

        switches.shuffled = True
        rows, _ = reader.round(USERS)
        assert rows != plain
        assert sorted(rows, key=itemgetter("id")) == sorted(plain, key=itemgetter("id"))

        switches.shuffled, switches.repeats = False, True
        assert reader.round(USERS)[0] == plain + plain[::2]
        ids = [people.add(), people.add()]
        _, link = reader.round(link)
        assert [row["id"] for row in reader.round(link)[0]] == [*ids, ids[0]]

        switches.repeats, switches.empty_pages_first = False, 1
        assert reader.page("/v1.0/users/delta")["value"] == []
        assert len(reader.round(USERS)[0]) == len(plain) + 2


def active(people: People) -> dict[str, Person]:
    """Everybody who is not in the recycle bin."""
    return {user_id: person for user_id, person in people.tenant().items() if not person.removed}


def _named(row: Row, managers: dict[str, str]) -> Row:
    """Write the references of a row as +old or -old."""
    names = {user_id: name for name, user_id in managers.items()}
    if "manager@delta" in row:
        edges = row["manager@delta"]
        assert all(edge["@odata.type"] == "#microsoft.graph.user" for edge in edges)
        row["manager@delta"] = [("-" if "@removed" in edge else "+") + names[edge["id"]] for edge in edges]
    return row


@pytest.mark.parametrize(
    "question",
    [
        "{link}x",
        "{link}&$select=mail",
        "{link}&$top=5",
        "{link}&$skiptoken=a",
        "/v1.0/users/delta?$deltatoken=abc",
        "/v1.0/users/delta?$skiptoken=",
        "/v1.0/users/delta?$select=shoeSize",
        "/v1.0/users/delta?$select=mail&$SELECT=mail",
        "/v1.0/users/delta?$filter=id eq '1'",
        "/v1.0/users?$top=1000",
        "/v1.0/users?$top=0",
        "/v1.0/users?$skiptoken=abc",
        "/v1.0/users?$orderby=mail",
    ],
)
def test_a_wrong_question_is_refused(reader: Reader, question: str) -> None:
    """A token that was changed or has company, and options that are unknown, repeated or not imitated: 400."""
    _, link = reader.round(USERS)

    answer = reader.ask(question.format(link=link))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


@pytest.mark.parametrize("path", ["/v1.0/devices", "/v1.0/users/delta/more", "/beta/users"])
def test_an_address_that_is_not_imitated_is_not_found(reader: Reader, path: str) -> None:
    """404 in Graph's shape."""
    answer = reader.ask(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")


def test_a_token_is_good_for_seven_days(cloud: LocalCloud, clock: Clock, reader: Reader) -> None:
    """Later it is refused: a next link by one switch, a delta link by another; 410 has the address of a fresh start."""
    switches = cloud.graph.delta
    switches.page_size = 5
    next_link = reader.page(f"/v1.0/users/delta?$select={SELECT}")["@odata.nextLink"]
    _, delta_link = reader.round(next_link)
    clock.moment += 7 * DAY
    reader.round(delta_link)
    clock.moment += 1

    found = [reader.ask(link) for link in (next_link, delta_link)]
    switches.page_refusal = switches.delta_refusal = GONE
    found += [reader.ask(link) for link in (next_link, delta_link)]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in found] == [
        (400, "Directory_ExpiredPageToken"),
        (400, "syncStateNotFound"),
        (410, "SyncStateNotFound"),
        (410, "SyncStateNotFound"),
    ]
    assert ["location" in answer.headers for answer in found] == [False, False, True, True]
    rows, _ = reader.round(found[-1].headers["location"])
    assert {row["id"] for row in rows} == active(cloud.people).keys()
    assert any("manager@delta" in row for row in rows)


def test_the_plain_list_is_paged_by_top(cloud: LocalCloud, reader: Reader) -> None:
    """`$top` people on a page, all of them by the links, with null for what was never set; no link after the last."""
    user_id = cloud.people.add(displayName="Last")
    url: str | None = "/v1.0/users?$top=7&$select=displayName,mail"
    rows: list[Row] = []
    while url:
        page = reader.ask(url).json()
        rows += page["value"]
        url = page.get("@odata.nextLink")

        assert len(page["value"]) == 7 or url is None
    assert [row["id"] for row in rows] == list(active(cloud.people))
    assert rows[-1] == {"id": user_id, "displayName": "Last", "mail": None}


def store(users: int, *, seed: int = 1) -> ObjectStore:
    """Make a store of its own."""
    return ObjectStore(now=lambda: 0.0, lock=RLock(), size=Size.of(users), seed=seed)


def test_the_same_seed_makes_the_same_people() -> None:
    """A tenant is told by its size and its seed, and all but one person in it have a manager there."""
    tenant, same, other = (People(store(30, seed=seed)).tenant() for seed in (3, 3, 4))
    assert tenant == same != other
    assert [person.properties.get("manager") in tenant for person in tenant.values()].count(False) == 1


@pytest.mark.parametrize(
    ("method", "values", "error"),
    [
        ("update", {"mail": ""}, KeyError),
        ("remove", {}, KeyError),
        ("restore", {}, KeyError),
        ("purge", {}, KeyError),
    ],
)
def test_a_change_of_nobody_changes_nothing(method: str, values: Row, error: type[Exception]) -> None:
    """A mistake in a test is told to it, and no round tells of it."""
    objects = store(1)
    with pytest.raises(error):
        getattr(People(objects), method)("nobody", **values)
    assert objects.log.position == 0
