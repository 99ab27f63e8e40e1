import json
import ssl
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from emulator.run import SCOPE, Site
from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from tests.contract import audit_conforms
from tests.end_to_end.conftest import Resident

pytestmark = pytest.mark.slow

CASES = tomllib.loads((Path(__file__).parents[1] / "data" / "token_endpoint.toml").read_text())["case"]
GOOD = "grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
FORM = "application/x-www-form-urlencoded"


def key_named(site: Site, name: str) -> str:
    """Read a key from the host's store."""
    store = json.loads((site.folder / "host.keys.json").read_text())
    key: str = {**store["functionKeys"], "_master": store["master"]}[name]
    return key


def audit_line(site: Site, correlation_id: str) -> dict[str, Any]:
    """Find the one audit event of a request in the app's log."""
    lines = [line for line in (site.folder / "app.log").read_text().splitlines() if correlation_id in line]
    assert len(lines) == 1
    assert audit_conforms(lines[0]) == []
    event: dict[str, Any] = json.loads(lines[0])
    return event


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_answers(site: Site, client: httpx.Client, case: dict[str, Any]) -> None:
    """Every answer has its status, its error, and its one audit event, which has no field but those that are listed."""
    answer = client.request(
        case.get("method", "POST"),
        f"/api/token{case.get('query', '')}",
        content="x" * case["body_bytes"] if "body_bytes" in case else case.get("body", GOOD),
        headers={
            "x-functions-key": key_named(site, case.get("key", "billing")),
            "content-type": case.get("media", FORM),
        },
    )
    assert answer.status_code == case["status"]
    for name, value in case.get("headers", {}).items():
        assert answer.headers[name] == value
    body = answer.json()
    assert body.get("error") == case.get("error")
    if case.get("hint"):
        assert body["hint"]
    event = audit_line(site, body["correlation_id"])
    assert (event["event"], event["status"]) == ("token", case["status"])


@pytest.mark.parametrize("key", [None, "", "x" * 56])
def test_the_host_stops_who_has_no_key(client: httpx.Client, key: str | None) -> None:
    """Without a key that the host knows, the app is never reached: 401 with an empty body."""
    headers = {"content-type": FORM} if key is None else {"content-type": FORM, "x-functions-key": key}
    answer = client.post("/api/token", content=GOOD, headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize(
    ("key", "query", "status"), [("billing", "", 200), ("_master", "", 200), (None, "", 401), (None, "?code={}", 400)]
)
def test_a_probe_needs_any_key(site: Site, client: httpx.Client, key: str | None, query: str, status: int) -> None:
    """Whoever the host lets in may ask whether the worker can serve, unless its key stands in the URL."""
    headers = {} if key is None else {"x-functions-key": key_named(site, key)}
    answer = client.get(f"/api/health/ready{query.format(site.key)}", headers=headers)
    assert answer.status_code == status
    assert status != 200 or answer.json()["status"] == "ready"


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
