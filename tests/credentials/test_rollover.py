"""A certificate has a new version: the real chain, vault reader and Entra client, over TLS, with the calls counted."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import ORDERS
from emulator.vault.app import RESOURCE as KEY_VAULT
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.credentials import kinds
from tests.credentials.kinds import Client, new_client
from tests.in_process import GRAPH_SCOPE, App, suffering

pytestmark = pytest.mark.slow

HOUR, DAY = 3_600.0, 86_400.0
COUNTED = Fault(kind=Kind.DELAY)
"""No fault: the vault answers at once, and each request to it is counted."""
ORDERS_SCOPE, VAULT_SCOPE = f"{ORDERS}/.default", f"{KEY_VAULT}/.default"
REMEMBERED = 61.0
"""Seconds after which no refusal is remembered any more."""


class Cost(NamedTuple):
    """What a request costs: its status, Entra's answers as AADSTS numbers, None for a token, and calls of the vault."""

    status: int
    entra: list[int | None]
    vault: int


@pytest.fixture
def client(timeless: LocalCloud, tmp_path: Path, fake_clock: FakeClock) -> Client:
    """A client that has no credential yet, in a process whose Azure SDKs know the challenge of the vault."""
    other = new_client(timeless, tmp_path)
    kinds.in_vault(other)

    async def once() -> None:
        async with worker(other, fake_clock) as app:
            assert (await app.ask()).status == 200

    asyncio.run(once())
    return new_client(timeless, tmp_path)


def worker(client: Client, clock: FakeClock) -> App:
    """Start a worker that knows nothing; its profile has the certificate of the client in the vault."""
    credential = f'type = "certificate", vault = "{client.cloud.vault_url}", name = "{client.vault_certificate}"'
    scopes = (GRAPH_SCOPE, ORDERS_SCOPE, VAULT_SCOPE)
    return App(client.cloud, clock, client.folder, scopes=scopes, settings=client.settings(credential))


async def cost(app: App, client: Client, scope: str = GRAPH_SCOPE) -> Cost:
    """Ask for a token, and count what it takes, behind the caller's back too."""
    entra, vault = len(client.cloud.entra.requests), client.cloud.faults["vault"].taken
    told = await app.ask(scope)
    await app.landed()
    codes = [request.code for request in client.cloud.entra.requests[entra:]]
    return Cost(told.status, codes, client.cloud.faults["vault"].taken - vault)


def make(client: Client, *, months: int = 12) -> str:
    """Make the next version of the certificate."""
    policy = Policy("CN=vend", exportable=False, validity_months=months)
    return client.cloud.vault.create_certificate(client.vault_certificate, policy)


def register(client: Client, version: str | None = None) -> str:
    """Register a version, the latest if none is named, and return the id of its key."""
    der = client.cloud.vault.certificate(client.vault_certificate, version)
    return client.cloud.directory.register_certificate(client.id, der)


async def certificate(app: App) -> str:
    """Return what readiness says of the certificate."""
    checks = {check["name"]: check for check in (await app.probe()).body["checks"]}
    return str(checks["certificate"]["detail"])


@pytest.mark.parametrize("newer", [1, 2, 3, 5])
def test_a_fresh_worker_finds_the_registered_version(newer: int, client: Client, fake_clock: FakeClock) -> None:
    """FND-G3, REL-28: whichever it is, with one request to Entra for each version before it.

    The newest goes first, then the oldest, then the others from the newest on. A flight asks with four: where none of
    them is registered the caller has its token at the next request, and not a minute later.
    """
    versions = []
    for _ in range(newer + 1):
        versions.append(make(client))
        fake_clock.tick(7 * DAY)
    order = [versions[-1], versions[0], *reversed(versions[1:-1])]

    async def story() -> None:
        for place, registered in enumerate(order):
            key_id = register(client, registered)
            async with worker(client, fake_clock) as app:
                with suffering(client.cloud.faults["vault"], COUNTED):
                    costs = [await cost(app, client)]
                    if place >= 4:
                        costs.append(await cost(app, client))
            asked = [700027] * place + [None]
            flights = [asked[:4], asked[4:]] if place >= 4 else [asked]
            statuses = [502, 200] if place >= 4 else [200]
            assert [(each.status, each.entra) for each in costs] == list(zip(statuses, flights, strict=True))
            # The list once, and for each version its certificate and a signature.
            assert sum(each.vault for each in costs) == 1 + 2 * len(asked)
            client.cloud.directory.remove_certificate(client.id, key_id)

    asyncio.run(story())


def test_flights_at_once_look_for_the_registered_version_together(client: Client, fake_clock: FakeClock) -> None:
    """FND-G3, REL-28: each learns from the refusals of the others, so none of three callers is refused.

    All three ask with the newest version at once. From its refusal on they take turns, and each version is asked with
    once until one is accepted.
    """
    versions = []
    for _ in range(6):
        versions.append(make(client))
        fake_clock.tick(7 * DAY)
    order = [versions[-1], versions[0], *reversed(versions[1:-1])]
    scopes = (GRAPH_SCOPE, ORDERS_SCOPE, VAULT_SCOPE)

    async def story() -> None:
        for place, registered in enumerate(order):
            key_id = register(client, registered)
            before = len(client.cloud.entra.requests)
            async with worker(client, fake_clock) as app:
                told = await asyncio.gather(*(app.ask(scope) for scope in scopes))
            assert [each.status for each in told] == [200, 200, 200]
            refused = [each.code for each in client.cloud.entra.requests[before:] if each.code is not None]
            assert len(refused) <= (place + 2 if place else 0)
            client.cloud.directory.remove_certificate(client.id, key_id)

    asyncio.run(story())


def test_a_renewal_that_nobody_registers_leaves_the_old_version_in_use(client: Client, fake_clock: FakeClock) -> None:
    """FND-G4: Key Vault renews by its policy; the old version goes on, readiness warns, and its end is no surprise.

    A worker that runs asks with the version that Entra accepts, and tries the new one once behind the callers' backs.
    """
    make(client, months=6)
    register(client)
    vault, name = client.cloud.vault, client.vault_certificate

    async def story() -> None:
        async with worker(client, fake_clock) as app:
            assert await cost(app, client) == Cost(200, [None], 3)
            while len(vault.versions(name)) == 1:
                fake_clock.tick(HOUR)
            fake_clock.tick(7 * HOUR)
            await cost(app, client)  # the list of versions is old, and is read behind this request
            fake_clock.tick(17.5 * HOUR)
            # Nothing is cached: the link that Entra accepted last goes first. It signs anew, and the list is read.
            assert await cost(app, client) == Cost(200, [None], 2)
            assert await cost(app, client, ORDERS_SCOPE) == Cost(200, [None], 0)
            async with worker(client, fake_clock) as fresh:
                assert await cost(fresh, client) == Cost(200, [700027, None], 5)
            fake_clock.tick(0.5 * HOUR)  # the cached token is due for a refresh, which tries the new version
            assert await cost(app, client) == Cost(200, [700027, None], 3)
            (rests,) = app.everything("credential_rests")
            assert rests["cause"] == "AADSTS700027"
            fake_clock.tick(2 * HOUR)
            assert await cost(app, client) == Cost(200, [None], 1)
            assert (await certificate(app)).endswith(", and Entra refuses a newer version")
            fake_clock.tick(40 * DAY)  # the old version has ended
            assert (await cost(app, client))[:2] == (502, [700027])
            register(client)
            fake_clock.tick(REMEMBERED)
            assert await cost(app, client) == Cost(200, [None], 1)

    with suffering(client.cloud.faults["vault"], COUNTED):
        asyncio.run(story())


def test_an_old_version_that_is_taken_off_is_no_reason_to_warn(client: Client, fake_clock: FakeClock) -> None:
    """The new one serves: the old one costs one request, and readiness has nothing to say of it."""
    old = make(client)
    key_id = register(client, old)
    fake_clock.tick(2 * DAY)

    async def story() -> None:
        async with worker(client, fake_clock) as app:
            assert (await app.ask()).status == 200
            make(client)
            register(client)
            client.cloud.directory.remove_certificate(client.id, key_id)
            fake_clock.tick(60)
            assert (await cost(app, client, ORDERS_SCOPE))[:2] == (200, [700027, None])
            assert "refuses" not in await certificate(app)

    asyncio.run(story())


@pytest.mark.parametrize("ahead", [900.0, -900.0], ids=["ahead", "behind"])
def test_a_wrong_clock_costs_one_request_more(ahead: float, client: Client, fake_clock: FakeClock) -> None:
    """FND-G5, REL-09: the refused assertion is dropped, and signed anew by the time of Entra's answer.

    Neither it nor the one after it is a burden once the clock is right again.
    """
    kinds.in_vault(client)
    fake_clock.tick(DAY)  # so that no clock finds the certificate too young

    async def story() -> None:
        async with worker(client, fake_clock) as app:
            with suffering(client.cloud.faults["vault"], COUNTED):
                fake_clock.jump(ahead)
                try:
                    assert await cost(app, client) == Cost(200, [700024, None], 4)
                finally:
                    fake_clock.tick(30)
                    fake_clock.jump(-ahead)
                assert (await cost(app, client, ORDERS_SCOPE))[:2] == (200, [None])
                fake_clock.tick(600)
                assert await cost(app, client, VAULT_SCOPE) == Cost(200, [None], 1)
            assert app.everything("credential_rests") == []
            assert app.everything("clock_differs")

    asyncio.run(story())
