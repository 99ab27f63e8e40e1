import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx
import jwt
import pytest

from emulator.blob.app import RESOURCE as STORAGE
from emulator.cloud import LocalCloud
from emulator.management.app import RESOURCE as MANAGEMENT
from emulator.seed import CONTAINER, GRAPH, OBJECT_ID, TENANT_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from emulator.witness import Misdirected, MisdirectedSecretWarning
from tests.emulator.client import new_principal, signed_token

OTHER_SERVICES = {"vault": STORAGE, "blob": KEY_VAULT, "graph": MANAGEMENT, "management": GRAPH, "entra": GRAPH}
OWN = {"vault": KEY_VAULT, "blob": STORAGE, "graph": GRAPH, "management": MANAGEMENT}
KEY = "C4N4RY-the-function-key-of-billing"


@pytest.fixture(autouse=True)
def unseen(cloud: LocalCloud) -> None:
    """Each test begins with a witness that has seen nothing."""
    cloud.misdirected.clear()


def urls(cloud: LocalCloud) -> Mapping[str, str]:
    """Return an address of each part."""
    return {
        "entra": f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token",
        "vault": f"{cloud.vault_url}/certificates",
        "identity": cloud.identity_endpoint,
        "graph": f"{cloud.graph_url}/v1.0/users/delta",
        "blob": f"{cloud.blob_url}/{CONTAINER}/callers.toml",
        "management": f"{cloud.management_url}/x/host/default/listkeys",
    }


def bearer(cloud: LocalCloud, resource: str) -> dict[str, str]:
    """Return the header with a token for a service."""
    return {"authorization": f"Bearer {signed_token(cloud, new_principal(cloud), resource=resource)}"}


def seen(cloud: LocalCloud) -> set[tuple[str, str]]:
    """Return which secret was noticed at which part."""
    return {(one.part, one.name) for one in cloud.misdirected}


def test_a_token_is_noticed_at_another_service(cloud: LocalCloud, http: httpx.Client) -> None:
    """SEC-29: the audience of a token names the only part where it belongs; its validity plays no role."""
    for part, resource in OWN.items():
        http.post(urls(cloud)[part], headers=bearer(cloud, resource))
    assert seen(cloud) == set()
    for part, resource in OTHER_SERVICES.items():
        http.post(urls(cloud)[part], headers=bearer(cloud, resource))
    http.get(urls(cloud)["identity"], headers=bearer(cloud, KEY_VAULT))
    assert seen(cloud) == {(part, "authorization") for part in urls(cloud)}


def test_a_key_is_noticed_everywhere(cloud: LocalCloud, http: httpx.Client) -> None:
    """SEC-29: keys of callers are for the app, and the header of the identity is for its endpoint."""
    for url in urls(cloud).values():
        http.get(url, headers={"x-functions-key": KEY, "x-identity-header": cloud.identity_header})
    http.get(cloud.identity_endpoint, headers={"x-identity-header": KEY})
    everywhere = {(part, name) for part in urls(cloud) for name in ("x-functions-key", "x-identity-header")}
    assert seen(cloud) == everywhere
    assert [one.name for one in cloud.misdirected if one.part == "identity"] == ["x-functions-key", "x-identity-header"]


def test_a_proof_is_noticed_unless_its_authority_gets_it(cloud: LocalCloud, http: httpx.Client) -> None:
    """SEC-29: the audience of an assertion is the token endpoint; a secret belongs to no part but Entra."""
    own, foreign = (
        {
            "client_assertion": jwt.encode({"aud": f"{authority}/{TENANT_ID}/oauth2/v2.0/token"}, KEY, "HS256"),
            "client_secret": KEY,
        }
        for authority in (cloud.authority, "https://login.example")
    )
    http.post(urls(cloud)["entra"], data=own)
    assert seen(cloud) == set()
    for url in urls(cloud).values():
        http.post(url, data=foreign)
    proofs = {(part, name) for part in urls(cloud) for name in ("client_assertion", "client_secret")}
    assert seen(cloud) == proofs - {("entra", "client_secret")}


def test_the_proof_for_a_key_is_noticed_unless_add_key_gets_it(cloud: LocalCloud, http: httpx.Client) -> None:
    """SEC-29: it registers whatever key comes with it, so that no other address may have it, at Graph or elsewhere."""
    applications = f"{cloud.graph_url}/v1.0/applications"
    http.post(f"{applications}/{OBJECT_ID}/addKey", json={"proof": KEY})
    for body in (b'["proof"]', b"{", b"\xff"):
        http.post(f"{cloud.graph_url}/", content=body, headers={"content-type": "application/json"})
    assert seen(cloud) == set()
    for url in (*urls(cloud).values(), f"{applications}/{OBJECT_ID}/removeKey"):
        http.post(url, json={"proof": KEY})
    assert seen(cloud) == {(part, "proof") for part in urls(cloud)}
    assert [one.path for one in cloud.misdirected if one.part == "graph"] == [
        "/v1.0/users/delta",
        f"/v1.0/applications/{OBJECT_ID}/removeKey",
    ]


def test_a_misdirected_secret_fails_the_test(tmp_path: Path) -> None:
    """SEC-29: at its end a cloud warns, which pytest turns into an error; the warning has no secret in it."""
    noticed = pytest.warns(MisdirectedSecretWarning, match="x-functions-key at blob /c/x$")
    with noticed as warned, LocalCloud(tmp_path) as cloud:
        tls = ssl.create_default_context(cafile=str(cloud.ca_file))
        httpx.get(f"{cloud.blob_url}/c/x", headers={"x-functions-key": KEY}, verify=tls)
        assert cloud.misdirected == [Misdirected("blob", "x-functions-key", "/c/x")]
    assert KEY not in str(warned[0].message)
