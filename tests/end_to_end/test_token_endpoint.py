import json
import ssl
from collections.abc import Callable, Mapping

import httpx
import jwt
import pytest

from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from emulator.tour.site import SCOPE, Site
from tests.end_to_end.conftest import Resident

pytestmark = pytest.mark.slow

GOOD = "grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
FORM = "application/x-www-form-urlencoded"


def key_named(site: Site, name: str) -> str:
    """Read a key from the host's store."""
    store = json.loads((site.folder / "host.keys.json").read_text())
    key: str = {**store["functionKeys"], "_master": store["master"]}[name]
    return key


@pytest.mark.parametrize(
    ("key", "query", "status"),
    [("vend-billing", "", 200), ("_master", "", 200), (None, "", 401), (None, "?code={}", 400)],
)
def test_a_probe_needs_any_key(site: Site, client: httpx.Client, key: str | None, query: str, status: int) -> None:
    """Whoever the host lets in may ask whether the worker can serve, unless its key stands in the URL."""
    headers = {} if key is None else {"x-functions-key": key_named(site, key)}
    answer = client.get(f"/api/health/ready{query.format(site.key)}", headers=headers)
    assert answer.status_code == status
    if status == 200:
        # The timer of the sync may not have fired yet.
        bad = {check["name"] for check in answer.json()["checks"] if check["state"] != "ok"}
        assert bad <= {"directory"}, answer.text


def test_the_token_is_entras(site: Site, client: httpx.Client) -> None:
    """The token verifies against Entra's published keys and is for this client, tenant and API."""
    answer = client.post("/api/token", content=GOOD, headers={"x-functions-key": site.key, "content-type": FORM}).json()
    trust = ssl.create_default_context(cafile=site.cloud.ca_file)
    with httpx.Client(verify=trust, trust_env=False) as entra:
        found = entra.get(f"{site.cloud.authority}/{TENANT_ID}/discovery/v2.0/keys").json()
    keys = jwt.PyJWKSet.from_dict(found)
    header = jwt.get_unverified_header(answer["access_token"])
    claims = jwt.decode(answer["access_token"], keys[header["kid"]], algorithms=["RS256"], audience=GRAPH)
    assert (claims["appid"], claims["tid"], claims["roles"]) == (CLIENT_ID, TENANT_ID, ["User.Read.All"])
    assert (answer["token_type"], answer["scope"]) == ("Bearer", SCOPE)
    assert claims["exp"] - 30 < answer["expires_on"] < claims["exp"]
    assert 0 < answer["expires_in"] < 3600
    assert 30 <= answer["refresh_in"] < answer["expires_in"]


def test_a_repeat_comes_from_the_cache(resident: Callable[[Mapping[str, float]], Resident]) -> None:
    """However often a caller asks, Entra is asked once, with a proof, and the vault has signed once."""
    app = resident({})
    for _ in range(5):
        assert app.run(app.invoke()) == 200
    assert [event["source"] for event in app.events] == ["identity_provider", *["cache"] * 4]
    assert len({event["token"] for event in app.events}) == 1
    (request,) = app.cloud.entra.requests
    assert request.proof is not None
    assert request.proof.algorithm == "PS256"
    assert app.cloud.vault.signatures == 1
