"""Plain reads of directory objects, permissions, and the headers of every answer."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.kinds import APPLICATIONS, GROUPS, KINDS, MEMBERS, SERVICE_PRINCIPALS, USERS
from emulator.directory.objects import Tenant
from emulator.directory.population import Size
from emulator.seed import CLIENT_ID, OBJECT_ID, TENANT_ID
from tests.emulator.client import Clock, graph_token
from tests.emulator.graph_reader import Reader

OTHER_TENANT = "00000000-0000-0000-0000-00000000000b"
CONTENT_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


@pytest.fixture
def reader(cloud: LocalCloud, http: httpx.Client) -> Iterator[Reader]:
    """A reader with every permission, of a Graph whose switches return."""
    yield Reader(cloud, http)
    cloud.graph.delta.reset()


def filtered(ids: list[str]) -> str:
    """Return the filter for ids."""
    return f"$filter=id in ({','.join(repr(each) for each in ids)})&$select=id"


@pytest.mark.parametrize("name", ["users", "groups", "servicePrincipals", "applications"])
def test_ids_are_filtered(cloud: LocalCloud, reader: Reader, name: str) -> None:
    """Active objects of the kind alone; the others are no mistake."""
    kind = KINDS[name]
    active, deleted, purged = (cloud.objects.create(kind, {}) for _ in range(3))
    cloud.objects.delete(deleted)
    cloud.objects.purge(purged)
    other = cloud.objects.create(USERS if kind is GROUPS else GROUPS, {})
    ids = [active, deleted, purged, other, "never"]

    answer = reader.ask(f"/v1.0/{name}?{filtered(ids)}")

    assert answer.json()["value"] == [{"id": active}]


def test_a_filter_has_at_most_15_ids(cloud: LocalCloud, reader: Reader) -> None:
    """More are refused as Graph refuses them, and so is another filter."""
    ids = list(cloud.objects.ids(USERS)[:16])

    assert len(reader.ask(f"/v1.0/users?{filtered(ids[:15])}").json()["value"]) == 15
    answers = [reader.ask(f"/v1.0/users?{query}") for query in (filtered(ids), "$filter=id eq '1'")]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (400, "Request_UnsupportedQuery"),
        (400, "BadRequest"),
    ]


@pytest.mark.parametrize("name", ["user", "group", "servicePrincipal", "application"])
def test_the_recycle_bin_is_listed_by_type(cloud: LocalCloud, reader: Reader, name: str) -> None:
    """In pages, to its end; what was restored is not in it."""
    kind = next(each for each in KINDS.values() if each.type == name)
    ids = [cloud.objects.create(kind, {}) for _ in range(6)]
    for object_id in ids:
        cloud.objects.delete(object_id)
    cloud.objects.restore(ids[0])

    pages = reader.listed(f"/v1.0/directory/deletedItems/microsoft.graph.{name}?$select=id&$top=2")

    listed = [row["id"] for page in pages for row in page]
    assert [object_id for object_id in listed if object_id in ids] == ids[1:]
    assert {len(page) for page in pages[:-1]} == {2}


@pytest.mark.parametrize(
    ("role", "readable"),
    [
        ("User.Read.All", {"users"}),
        ("Group.Read.All", {"groups"}),
        ("GroupMember.Read.All", {"groups"}),
        ("Application.Read.All", {"servicePrincipals", "applications"}),
        ("Member.Read.Hidden", set()),
        ("Directory.Read.All", {"users", "groups", "servicePrincipals", "applications"}),
    ],
)
def test_each_kind_needs_a_permission(cloud: LocalCloud, reader: Reader, role: str, readable: set[str]) -> None:
    """For its delta query, its list and its recycle bin alike."""
    reader.roles = frozenset({role})
    for name in ("users", "groups", "servicePrincipals", "applications"):
        urls = (
            f"/v1.0/{name}/delta",
            f"/v1.0/{name}",
            f"/v1.0/directory/deletedItems/microsoft.graph.{KINDS[name].type}",
        )
        answers = [reader.ask(url) for url in urls]
        assert {answer.status_code for answer in answers} == {200 if name in readable else 403}
        if name not in readable:
            assert {answer.json()["error"]["code"] for answer in answers} == {"Authorization_RequestDenied"}
    cloud.graph.delta.group_member_read_suffices = False
    groups = reader.ask("/v1.0/groups/delta")
    assert groups.status_code == (403 if role == "GroupMember.Read.All" else 200 if "groups" in readable else 403)


@pytest.mark.parametrize("address", ["/v1.0/users", "/v1.0/users/delta"])
def test_a_property_of_another_service_is_not_tracked(reader: Reader, address: str) -> None:
    """501, whoever asks for it."""
    answer = reader.ask(f"{address}?$select=skills")
    assert answer.status_code == 501


def test_every_answer_has_the_headers_of_graph(reader: Reader) -> None:
    """FND-F15: pages and refusals: chunks, ids, diagnostics, resource units, and the format of pages."""
    page, refusal = reader.ask("/v1.0/users/delta?$select=mail"), reader.ask("/v1.0/users?$top=0")

    assert page.headers["content-type"] == CONTENT_TYPE
    assert page.headers["odata-version"] == "4.0"
    for answer in (page, refusal):
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["request-id"] == answer.headers["client-request-id"]
        assert "DataCenter" in json.loads(answer.headers["x-ms-ags-diagnostic"])["ServerInfo"]
        assert "x-ms-throttle-limit-percentage" not in answer.headers


@pytest.mark.parametrize(
    ("url", "units"),
    [
        ("/v1.0/users", "2"),
        ("/v1.0/users?$select=mail", "1"),
        ("/v1.0/users?$top=19", "1"),
        ("/v1.0/users?$top=20", "2"),
        ("/v1.0/groups/delta?$expand=members", "2"),
        ("/v1.0/users/delta?$select=mail", "1"),
    ],
)
def test_an_answer_tells_its_cost(reader: Reader, url: str, units: str) -> None:
    """In resource units, at least one."""
    assert reader.ask(url).headers["x-ms-resource-unit"] == units


def test_an_answer_tells_how_near_the_limit_is(cloud: LocalCloud, reader: Reader) -> None:
    """From 0.8 on alone."""
    found = []
    for percentage in (0.79, 0.8, 1.8):
        cloud.graph.delta.throttle_percentage = percentage
        found.append(reader.ask("/v1.0/users").headers.get("x-ms-throttle-limit-percentage"))
    assert found == [None, "0.8", "1.8"]


def test_an_expired_token_is_named_as_graph_names_it(cloud: LocalCloud, clock: Clock, http: httpx.Client) -> None:
    """The sentence is another one than for a changed token."""
    token, now = graph_token(cloud), clock.moment
    clock.moment += 3600
    answer = http.get(f"{cloud.graph_url}/v1.0/users", headers={"authorization": f"Bearer {token}"})
    clock.moment = now

    assert answer.json()["error"]["message"] == "Lifetime validation failed, the token is expired."


def test_each_tenant_is_shown_to_its_own_tokens(tmp_path: Path) -> None:
    """The objects are those of the token's tenant, and a link of one tenant is none in another."""
    with LocalCloud(tmp_path, users=3) as cloud:
        cloud.directory.add_tenant(Tenant(OTHER_TENANT, "fabrikam.example"), size=Size.of(5), seed=2)
        with httpx.Client(verify=ssl.create_default_context(cafile=str(cloud.ca_file))) as http:
            tokens = [graph_token(cloud, tenant_id=tenant_id) for tenant_id in (TENANT_ID, OTHER_TENANT)]
            url = f"{cloud.graph_url}/v1.0/users/delta"
            pages = [http.get(url, headers={"authorization": f"Bearer {token}"}).json() for token in tokens]
            answer = http.get(pages[0]["@odata.deltaLink"], headers={"authorization": f"Bearer {tokens[1]}"})

    assert [len(page["value"]) for page in pages] == [3, 5]
    assert not {row["id"] for row in pages[0]["value"]} & {row["id"] for row in pages[1]["value"]}
    assert answer.status_code == 400


def test_graph_shows_what_entra_knows(cloud: LocalCloud, reader: Reader, client_secret: str) -> None:
    """The registered application is an object with its credentials. Deleted, it gets no tokens; restored, it does."""
    form = {
        "grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": client_secret,
        "scope": "https://graph.microsoft.com/.default",
    }  # fmt: skip
    url = f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token"
    select = "$select=displayName,appId,keyCredentials,passwordCredentials"
    (row,) = reader.ask(f"/v1.0/applications?$filter=id in ('{OBJECT_ID}')&{select}").json()["value"]
    principal = cloud.directory.service_principal(CLIENT_ID, tenant_id=TENANT_ID)
    assert principal

    found = []
    for object_id in (OBJECT_ID, principal.object_id):
        for change in (cloud.objects.delete, cloud.objects.restore):
            change(object_id)
            found.append(reader.http.post(url, data=form).status_code)

    assert (row["displayName"], row["appId"]) == ("vend", CLIENT_ID)
    assert (len(row["keyCredentials"]), len(row["passwordCredentials"])) == (1, 1)
    assert client_secret not in json.dumps(row)
    assert [status == 200 for status in found] == [False, True, False, True]
    kinds = {each.kind for each in map(cloud.objects.find, (OBJECT_ID, principal.object_id)) if each}
    assert kinds == {APPLICATIONS, SERVICE_PRINCIPALS}


def test_a_million_users_are_read_page_by_page(tmp_path: Path) -> None:
    """A page of a first round costs the same in a tenant of any size."""
    size = Size(users=1_000_000, groups=100_000, members=50, largest=2_000)
    with LocalCloud(tmp_path, users=size) as cloud:
        trust = ssl.create_default_context(cafile=str(cloud.ca_file))
        cloud.graph.delta.shuffled = True
        with httpx.Client(verify=trust) as http:
            reader = Reader(cloud, http)
            users = reader.page("/v1.0/users/delta?$select=mail")
            groups = reader.page("/v1.0/groups/delta?$select=members")

    assert len(users["value"]) == 200
    assert sum(len(row[f"{MEMBERS}@delta"]) for row in groups["value"]) == 500
