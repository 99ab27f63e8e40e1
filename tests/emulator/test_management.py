import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import ServicePrincipal
from emulator.host.keys import KeyFile, Keys
from emulator.management.app import RESOURCE as MANAGEMENT
from emulator.seed import APP_RESOURCE_ID, CLIENT_ID, OPERATOR_CLIENT_ID, OPERATOR_PRINCIPAL_ID, TENANT_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from tests.emulator.client import signed_token

MADE_BY_HAND = "a-key-that-somebody-made-up-himself"


@pytest.fixture(scope="module")
def keys(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    """The key store of the one site that this cloud knows."""
    file = KeyFile(tmp_path_factory.mktemp("host") / "keys.json")
    file.prepare()
    cloud.management.add_site(APP_RESOURCE_ID, file)
    return file


def token(cloud: LocalCloud, http: httpx.Client, resource: str = MANAGEMENT) -> str:
    """Have the operator log in at Entra, as `az login --service-principal` does."""
    form = {
        "grant_type": "client_credentials",
        "client_id": OPERATOR_CLIENT_ID,
        "client_secret": cloud.directory.add_secret(OPERATOR_CLIENT_ID, lifetime=600),
        "scope": f"{resource}/.default",
    }
    return str(http.post(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", data=form).json()["access_token"])


def url(cloud: LocalCloud, path: str, *, site: str = APP_RESOURCE_ID, version: str = "?api-version=2024-11-01") -> str:
    """Address something below a site."""
    return f"{cloud.management_url}{site}/host/default/{path}{version}"


@pytest.mark.parametrize("audience", ["its public name", "its address"])
def test_an_operator_has_keys_made_listed_and_deleted(
    cloud: LocalCloud, http: httpx.Client, keys: KeyFile, audience: str
) -> None:
    """The platform makes the value unless one is sent; all of it is in the store that the host reads."""
    resource = MANAGEMENT if audience == "its public name" else cloud.management_url
    http.headers["authorization"] = f"Bearer {token(cloud, http, resource)}"
    key = url(cloud, "functionKeys/billing", site=APP_RESOURCE_ID.upper())

    first = http.put(key, json={"properties": {"name": "billing"}})
    second = http.put(key, json={"properties": {"name": "billing", "value": MADE_BY_HAND}})
    listed = http.post(url(cloud, "listkeys")).json()

    made = first.json()["properties"]
    assert (first.status_code, second.status_code) == (201, 200)
    assert (made["name"], len(made["value"])) == ("billing", 56)
    assert second.json()["properties"]["value"] == MADE_BY_HAND
    assert listed == {"masterKey": keys.read().master, "functionKeys": keys.read().functionKeys, "systemKeys": {}}
    assert listed["functionKeys"]["billing"] == MADE_BY_HAND
    assert [http.delete(key).status_code for _ in range(2)] == [204, 404]
    assert "billing" not in keys.read().functionKeys


def by(cloud: LocalCloud, principal_id: str) -> str:
    """Sign a token for ARM and some principal."""
    return signed_token(cloud, ServicePrincipal(principal_id, CLIENT_ID, TENANT_ID), resource=MANAGEMENT)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"authorization": ""}, 401, "AuthenticationFailed"),
        ({"authorization": "Bearer x.y.z"}, 401, "InvalidAuthenticationToken"),
        ({"audience": KEY_VAULT}, 401, "InvalidAuthenticationToken"),
        ({"principal": "e2470b9f-5ac3-4186-8f3d-b19d64c7e05a"}, 403, "AuthorizationFailed"),
        ({"site": APP_RESOURCE_ID + "x"}, 404, "ResourceNotFound"),
        ({"version": ""}, 400, "MissingApiVersionParameter"),
        ({"version": "?api-version=latest"}, 400, "InvalidApiVersionParameter"),
        ({"name": "_master"}, 400, "BadRequest"),
        ({"body": "[]"}, 400, "InvalidRequestContent"),
        ({"body": ""}, 400, "InvalidRequestContent"),
    ],
    ids=[
        "nobody",
        "no token",
        "for the vault",
        "no right",
        "no such site",
        "no version",
        "no date",
        "name",
        "list",
        "none",
    ],
)
def test_arm_refuses_in_its_own_words(
    cloud: LocalCloud, http: httpx.Client, keys: KeyFile, changes: dict[str, str], status: int, code: str
) -> None:
    """Who asks, for what and how is checked in that order; nothing changes."""
    before: Keys = keys.read()
    bearer = by(cloud, changes.get("principal", OPERATOR_PRINCIPAL_ID))
    if audience := changes.get("audience"):
        bearer = token(cloud, http, audience)
    where = {name: changes[name] for name in ("site", "version") if name in changes}

    answer = http.put(
        url(cloud, f"functionKeys/{changes.get('name', 'billing')}", **where),
        content=changes.get("body", '{"properties": {}}'),
        headers={"authorization": changes.get("authorization", f"Bearer {bearer}")},
    )

    body = answer.json()
    assert (answer.status_code, body["error"]["code"] if "error" in body else body["Code"]) == (status, code)
    assert keys.read() == before
