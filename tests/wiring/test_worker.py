"""What a worker does with the keys of a profile, as the wiring makes it of them: the cloud is a local one."""

import asyncio
import json
from pathlib import Path

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, CLIENT_ID, TENANT_ID
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.in_process import GRAPH_SCOPE, ORDERS_SCOPE, App, callers_document, suffering

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
