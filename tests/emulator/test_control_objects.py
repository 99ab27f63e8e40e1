"""Another process changes the objects of the tenant, and how Graph tells of them."""

from collections.abc import Iterator

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.directory_object import State
from emulator.graph.switches import GONE
from tests.emulator.graph_reader import Reader

ABSENT = "00000000-0000-0000-0000-000000000002"


@pytest.fixture
def control(cloud: LocalCloud) -> Iterator[httpx.Client]:
    """The control API of the cloud, whose rules return afterwards."""
    with httpx.Client(base_url=cloud.control) as client:
        yield client
    cloud.graph.delta.reset()
    cloud.objects.recycle_bin_days = 30


def test_the_life_of_an_object(control: httpx.Client) -> None:
    """Created, changed, joined, deleted, restored, purged: the state has each step."""
    states = []
    user = control.post("/objects/users", json={"displayName": "Ann"}).json()["id"]
    group = control.post("/objects/groups", json={"displayName": "Team"}).json()["id"]
    edge = f"/objects/{group}/members/{user}"
    for method, path in (
        ("PATCH", f"/objects/{user}"),
        ("PUT", edge),
        ("DELETE", f"/objects/{user}"),
        ("POST", f"/objects/{user}/restore"),
        ("DELETE", edge),
        ("POST", f"/objects/{user}/purge"),
    ):
        body = {"department": None, "mail": "ann@contoso.example"} if method == "PATCH" else None
        assert control.request(method, path, json=body).status_code == 204
        shown = control.get("/objects").json()
        found = next((each for each in shown["objects"] if each["id"] == user), {"state": "purged"})
        states.append((found["state"], ["members", group, user] in shown["edges"]))

    assert states == [
        ("active", False),
        ("active", True),
        ("deleted", True),
        ("active", True),
        ("active", False),
        ("purged", False),
    ]


def test_a_credential_comes_and_goes(control: httpx.Client) -> None:
    """With its name and its end."""
    agent = control.post("/objects/applications", json={"@odata.type": "#microsoft.graph.agentIdentityBlueprint"})
    url = f"/objects/{agent.json()['id']}/credentials"
    key_id = control.post(url, json={"name": "deploy", "lifetime_seconds": 3600}).json()["key_id"]

    held = {each["key_id"]: each["name"] for each in control.get("/objects").json()["credentials"]}
    statuses = [control.delete(f"{url}/{key_id}").status_code for _ in range(2)]

    assert held[key_id] == "deploy"
    assert statuses == [204, 404]


def test_the_tenant_evolves(cloud: LocalCloud, control: httpx.Client) -> None:
    """By as many changes as the request says, at least."""
    before = cloud.objects.log.position
    position = control.post("/evolution", json={"steps": 25}).json()["position"]
    assert position == cloud.objects.log.position >= before + 25
    assert control.get("/objects").json()["position"] == position


def test_the_recycle_bin_is_set(cloud: LocalCloud, control: httpx.Client) -> None:
    """With no days in it, what is deleted is gone."""
    control.put("/recycle_bin", json={"days": 0})
    user = control.post("/objects/users", json={}).json()["id"]
    control.delete(f"/objects/{user}")
    found = cloud.objects.find(user)
    assert found
    assert found.state is State.PURGED


def test_the_switches_are_set_one_by_one(cloud: LocalCloud, control: httpx.Client) -> None:
    """A switch that the request does not name stays. What is shown can be sent back, and DELETE brings the defaults."""
    wanted = {"page_size": 5, "withheld": ["mail"], "delta_refusal": "gone", "removed_reason": {}, "lag_seconds": 2}
    control.put("/graph/delta", json={"group_page_sizes": [7, 1]})
    shown = control.put("/graph/delta", json=wanted).json()

    assert wanted.items() <= shown.items()
    assert shown["group_page_sizes"] == [7, 1]
    assert (cloud.graph.delta.delta_refusal, cloud.graph.delta.withheld) == (GONE, frozenset({"mail"}))
    assert control.put("/graph/delta", json=shown).json() == shown
    assert control.delete("/graph/delta").status_code == 204
    assert control.get("/graph/delta").json()["page_size"] == 200


def test_links_are_revoked(cloud: LocalCloud, control: httpx.Client, http: httpx.Client) -> None:
    """The next request with one is refused."""
    reader = Reader(cloud, http)
    _, link = reader.round("/v1.0/users/delta?$select=mail")
    assert control.post("/graph/revoke_tokens").status_code == 204
    assert reader.ask(link).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/objects/contacts", {}, 404),
        ("POST", "/objects/users", {"shoeSize": 44}, 400),
        ("POST", "/objects/users", {"@odata.type": "#microsoft.graph.agentIdentity"}, 400),
        ("PATCH", f"/objects/{ABSENT}", {"mail": None}, 404),
        ("DELETE", f"/objects/{ABSENT}", None, 404),
        ("PUT", f"/objects/{ABSENT}/members/{ABSENT}", None, 404),
        ("POST", "/evolution", {"steps": "many"}, 400),
        ("PUT", "/graph/delta", {"pagesize": 5}, 400),
        ("PUT", "/graph/delta", {"page_size": 0}, 400),
        ("PUT", "/graph/delta", {"page_size": True}, 400),
        ("PUT", "/graph/delta", {"shuffled": 1}, 400),
        ("PUT", "/graph/delta", {"group_page_sizes": []}, 400),
        ("PUT", "/graph/delta", {"withheld": "mail"}, 400),
        ("PUT", "/graph/delta", {"page_refusal": "unknown"}, 400),
        ("PUT", "/graph/delta", {"lag_seconds": -1}, 400),
    ],
)
def test_a_mistake_is_told(
    cloud: LocalCloud, control: httpx.Client, method: str, path: str, body: object, status: int
) -> None:
    """404 for what is not there, 400 with the mistake; and no switch was set."""
    before = dict(vars(cloud.graph.delta))
    answer = control.request(method, path, json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert vars(cloud.graph.delta) == before
