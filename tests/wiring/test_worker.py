"""What a worker does with the keys of a profile, as the wiring makes it of them: the cloud is a local one."""

import asyncio
import json
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, CLIENT_ID, TENANT_ID
from emulator.tour.site import app_settings
from emulator.vault.policy import Policy
from shared.api.routes import FUNCTION_KEY, ROUTES
from shared.core.documents.settings import parse_settings
from shared.core.token import TokenKey
from shared.runtime import build
from shared.telemetry.events import Events
from shared.wiring.tokens import first_keys
from tests.clock import FakeClock, fake_system
from tests.in_process import (
    GRAPH_SCOPE,
    ORDERS_SCOPE,
    App,
    callers_document,
    request,
    suffering,
    write_configuration,
)
from tests.in_process import KEY as BILLING

KEY = "a-function-key-of-reports"


def test_a_profile_is_proved_by_each_of_its_credentials_in_turn(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """The second is asked where Entra does not know the first, and each request declares what the client can do."""
    timeless.vault.create_certificate("unknown", Policy(subject="CN=unknown"))
    before = len(timeless.entra.requests)
    certificates = ", ".join(
        f'{{ type = "certificate", vault = "{timeless.vault_url}", name = "{name}" }}'
        for name in ("unknown", CERTIFICATE)
    )
    settings = f"""\
profiles.second.tenants = ["{TENANT_ID}"]
profiles.second.client_id = "{CLIENT_ID}"
profiles.second.scopes = {json.dumps([GRAPH_SCOPE, ORDERS_SCOPE])}
profiles.second.credentials = [{certificates}]
profiles.second.claims_capabilities = ["cp1"]
"""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=settings) as app:
            document = callers_document({"reports": KEY}).replace('"graph"', '"second"')
            (tmp_path / "callers.toml").write_text(document)
            assert (await app.ask(key=KEY)).status == 200
            (detail,) = [each["detail"] for each in (await app.probe()).body["checks"] if each["name"] == "certificate"]
            assert detail.startswith("ends on ")  # though nobody has read that of the first profile

    asyncio.run(story())
    first, second = timeless.entra.requests[before:]
    assert (first.code, second.code) == (700027, None)
    assert [json.loads(seen.claims or "") for seen in (first, second)] == [
        {"access_token": {"xms_cc": {"values": ["cp1"]}}}
    ] * 2


def test_a_refusal_counts_for_the_credential_that_it_was_about(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """A vault that refused the app is remembered for a minute, or until another request has read the certificate."""
    denied = Fault(kind=Kind.STATUS, status=403)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            with suffering(timeless.faults["vault"], denied):
                assert (await app.ask(GRAPH_SCOPE)).status == 502
            assert ((await app.ask(GRAPH_SCOPE)).status, app.flights) == (502, 1)
            assert (await app.ask(ORDERS_SCOPE)).status == 200
            assert (await app.ask(GRAPH_SCOPE)).status == 200

    asyncio.run(story())


def test_a_token_of_the_app_that_a_service_rejects_is_replaced(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """One 401 of the vault disproves a token: that costs one request to the identity, and no caller notices."""
    rejected = Fault(kind=Kind.STATUS, status=401, times=1)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            assert (await app.ask()).status == 200
            fake_clock.tick(9 * 60)  # the assertion is over, and the next token needs a signature
            identity = timeless.faults["identity"]
            before = identity.taken
            # A delay of nothing counts the requests.
            with suffering(timeless.faults["vault"], rejected), suffering(identity, Fault(kind=Kind.DELAY, seconds=0)):
                assert (await app.ask(ORDERS_SCOPE)).status == 200
            assert app.everything("acquire_failed") == []
            assert identity.taken == before + 1

    asyncio.run(story())


@pytest.mark.parametrize(("setting", "status"), [("", 403), ("app_checked_routes = true", 200)])
def test_a_route_that_the_app_alone_guards_is_opened_by_the_operator(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, setting: str, status: int
) -> None:
    """The routes whose keys the host does not check are shut unless a setting opens them."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=setting) as app:
            assert [(await app.ask(route=route)).status for route in ROUTES] == [200, status, status, status]

    asyncio.run(story())


def test_a_token_in_its_last_minute_is_as_good_as_none(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """No caller is served with it while Entra is away, so the worker is not ready."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            lifetime = (await app.ask()).body["expires_in"] + 10
            with suffering(timeless.faults["entra"], Fault(kind=Kind.STATUS, status=503)):
                fake_clock.tick(lifetime - 59)
                assert ((await app.ask()).status, (await app.probe()).status) == (503, 503)

    asyncio.run(story())


REFUSED_VAULT = (
    "Key Vault: the vault's address is outside of vault.azure.net, which its token is for: "
    "set verify_vault_challenge = false for a vault on this machine"
)


@pytest.mark.parametrize(("verify", "status", "reason"), [("true", 502, REFUSED_VAULT), ("false", 200, None)])
def test_a_vault_has_the_domain_that_its_token_is_for(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, verify: str, status: int, reason: str | None
) -> None:
    """FND-A1: the local vault has no name of Azure's, so with `verify_vault_challenge` it gets no token."""
    write_configuration(
        timeless,
        tmp_path,
        scopes=(GRAPH_SCOPE,),
        settings="",
        authority=timeless.authority,
        vault=timeless.vault_url,
    )
    document = tmp_path / "vend.toml"
    document.write_text(document.read_text().replace("challenge = false", f"challenge = {verify}"))
    lines: list[str] = []
    events = Events(lines.append, wall=fake_clock.wall, worker="w")

    async def story() -> None:
        environ = app_settings(timeless, document)
        runtime = build(environ, root=tmp_path, events=events, system=fake_system(fake_clock))
        answer = await runtime.routes["token"](request(FUNCTION_KEY, scope=GRAPH_SCOPE, key=BILLING))
        await runtime.aclose()
        assert answer.status == status

    asyncio.run(story())
    assert json.loads(lines[-1]).get("reason") == reason


@pytest.mark.parametrize(
    ("vendable", "asked"),
    [
        ("true", [("second", 0), ("second", 1), ("second", 2)]),
        ("false", [("first", 0), ("second", 0), ("first", 1), ("second", 1)]),
    ],
)
def test_a_probed_worker_asks_for_what_a_caller_may_have(vendable: str, asked: list[tuple[str, int]]) -> None:
    """It asks for profiles that can be vended, each in turn; where there is none, Entra is asked for any."""
    tenants = [TENANT_ID, *(f"00000000-0000-0000-0000-00000000000{digit}" for digit in (1, 2))]
    profiles = "".join(
        f"""\
[profiles.{name}]
tenants = {json.dumps(tenants)}
client_id = "{CLIENT_ID}"
scopes = ["api://{name}/.default", "api://other/.default"]
vendable = {may}
credentials = [{{ type = "certificate", vault = "https://vend.vault.azure.net", name = "vend" }}]
"""
        for name, may in (("first", "false"), ("second", vendable))
    )
    settings = parse_settings(profiles.encode(), {}, name="vend.toml")
    expected = [TokenKey(name, tenants[at], f"api://{name}/.default") for name, at in asked]
    assert first_keys(settings) == expected
