"""The app as it is deployed, in this process: its triggers, its key checks, and what only production wires."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from emulator.seed import GRAPH, TENANT_ID
from emulator.tour.site import CALLER
from shared.core.request import ASSERTION_TYPE
from shared.runtime import NOISY, runtime
from tests.contract import check
from tests.end_to_end.conftest import FORM, Resident
from tests.wire import basic

type Begin = Callable[[Mapping[str, float]], Resident]

GET_TOKEN = f"/api/msi/token?api-version=2019-08-01&resource={GRAPH}"
# Each is a function, the request that it serves, the header that its key stands in, and who checks the key.
DOORS = [
    ("token", "POST", "/api/token", "x-functions-key", "the host"),
    ("ready", "GET", "/api/health/ready", "x-functions-key", "the host"),
    ("doctor", "GET", "/api/doctor", "x-functions-key", "the host"),
    ("sync", "POST", "/api/sync", "x-functions-key", "the host"),
    ("msi_token", "GET", GET_TOKEN, "x-identity-header", "the app"),
    ("oauth2_token", "POST", "/api/oauth2/token", "authorization", "the app"),
]
ENTRA_TOKEN = f"/api/entra/{TENANT_ID}/oauth2/v2.0/token"
METADATA = f"/api/entra/{TENANT_ID}/v2.0/.well-known/openid-configuration"
IDENTITY = ("entra_token", "entra_discovery")
"""Functions that take no key at all: an identity token proves the caller, and metadata is for anybody."""
ASSERTED = {"client_assertion_type": ASSERTION_TYPE}
TIMERS = ("graph_sync", "certificate_rotation")


@pytest.mark.slow
def test_each_function_has_its_gate(resident: Begin, tmp_path: Path) -> None:
    """FND-H9: where the host checks keys, no stranger reaches the app; the app checks the others, and none is open."""
    app = resident({})
    key = app.headers["x-functions-key"]
    assert {name for name, *_ in DOORS} | {*TIMERS, *IDENTITY} == set(app.host.functions)
    with httpx.Client(base_url=f"http://localhost:{app.listen()}", trust_env=False) as client:
        for name, method, url, header, who in DOORS:
            body = FORM if method == "POST" else None
            media = {"content-type": app.headers["content-type"]} if body else {}
            before = len(app.events)
            for wrong in ({}, {header: "a-key-of-nobody"}, {"x-functions-key": "a-key-of-nobody"}):
                refused = client.request(method, url, headers={**media, **wrong}, content=body)
                assert refused.status_code in {400, 401}, name
                assert (refused.content == b"") is (who == "the host"), name
            assert (len(app.events) == before) is (who == "the host"), name
            proof = basic(CALLER, key) if header == "authorization" else key
            served = client.request(method, url, headers={**media, header: proof}, content=body)
            check(served)
            assert served.status_code == (403 if name in {"doctor", "sync"} else 200), name
        media = {"content-type": app.headers["content-type"]}
        for assertion, status in ((key, 401), ((tmp_path / f"{CALLER}.token").read_text(), 200)):
            body = FORM + b"&" + urlencode({**ASSERTED, "client_assertion": assertion}).encode()
            assert client.post(ENTRA_TOKEN, headers=media, content=body).status_code == status
        assert client.get(METADATA).status_code == 200
        # The host starts a timer's function by hand for the holder of its master key.
        master = json.loads((tmp_path / "host.keys.json").read_text())["master"]
        for name in TIMERS:
            started = client.post(f"/admin/functions/{name}", headers={"x-functions-key": master}, json={})
            assert started.status_code == 202, name
        app.run(app.until(lambda: any(event["event"] == "sync_finished" for event in app.events)))


def test_a_worker_has_the_machine_s_own_chance_clocks_and_settings(
    resident: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FND-H6: what every other test replaces; tokens are refreshed at different ages, and every id is another one."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    app = resident({})
    endpoint = os.environ["IDENTITY_ENDPOINT"]
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    assert runtime() is runtime()
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)  # read at each call
    refreshes = set()

    async def story() -> None:
        for _ in range(4):
            app.tokens.clear()
            assert [await app.invoke(), await app.invoke()] == [200, 200]
            (entry,) = app.tokens.entries()
            assert entry.age < 60
            refreshes.add(app.answers[-1]["refresh_in"])

    app.run(story())
    assert len(refreshes) > 1
    vended = [event for event in app.events if event["event"] == "token"]
    assert [event["source"] for event in vended] == ["identity_provider", "cache"] * 4
    assert len({event["correlation_id"] for event in vended}) == 8
    assert {len(event["worker"]) for event in vended} == {8}
    assert {logging.getLogger(name).level for name in NOISY} == {logging.WARNING}
