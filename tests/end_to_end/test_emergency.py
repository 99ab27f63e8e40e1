"""Somebody had the key of a certificate: a new version comes and the old one goes, while callers ask for tokens."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from emulator.blob.app import RESOURCE as STORAGE
from emulator.cloud import LocalCloud
from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import Application
from emulator.management.app import RESOURCE as MANAGEMENT
from emulator.seed import ORDERS
from emulator.vault.app import RESOURCE as KEY_VAULT
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.credentials import kinds
from tests.credentials.kinds import Client, new_client
from tests.in_process import GRAPH_SCOPE, App

UNCACHED = tuple(f"{resource}/.default" for resource in (ORDERS, STORAGE, KEY_VAULT, MANAGEMENT))
"""Scopes whose tokens nobody has asked for before: one for each step."""
REMEMBERED = 61.0
"""Seconds after which no refusal is remembered any more."""


@dataclass(frozen=True)
class Stolen:
    """The certificate of a client: its version in the vault, and the id of its key at Entra."""

    client: Client
    version: str
    key_id: str


type Step = Callable[[Stolen], None]


def create(stolen: Stolen) -> None:
    """Do as `az keyvault certificate create`."""
    client = stolen.client
    client.cloud.vault.create_certificate(client.vault_certificate, Policy("CN=vend", exportable=False))


def register(stolen: Stolen) -> None:
    """Do as `az ad app credential reset --append --keyvault`."""
    client = stolen.client
    client.cloud.directory.register_certificate(client.id, latest(client), repeated=True)


def disable(stolen: Stolen) -> None:
    """Do as `az keyvault certificate set-attributes --enabled false`."""
    client = stolen.client
    client.cloud.vault.set_enabled(client.vault_certificate, stolen.version, enabled=False)


def take_off(stolen: Stolen) -> None:
    """Do as `az ad app credential delete`."""
    client = stolen.client
    client.cloud.directory.remove_certificate(client.id, stolen.key_id)


DOCUMENTED = (create, register, disable, take_off)
"""The steps of docs/credentials.md, in their order."""


@pytest.fixture
def stolen(timeless: LocalCloud, tmp_path: Path) -> Stolen:
    """Make a client with a certificate."""
    client = new_client(timeless, tmp_path)
    kinds.in_vault(client)
    (version,), (key_id,) = timeless.vault.versions(client.vault_certificate), application(client).certificates
    return Stolen(client, version, key_id)


def application(client: Client) -> Application:
    """Return the registration of a client."""
    found = client.cloud.directory.application(client.id)
    assert found
    return found


def latest(client: Client) -> bytes:
    """Return the newest certificate of a client in the vault."""
    return client.cloud.vault.certificate(client.vault_certificate)


def worker(stolen: Stolen, clock: FakeClock) -> App:
    """Make a worker whose profile rotates."""
    client = stolen.client
    credential = f'type = "certificate", vault = "{client.cloud.vault_url}", name = "{client.vault_certificate}"'
    rotates = f'profiles.graph.application_object_id = "{application(client).object_id}"\n'
    settings = client.settings(credential) + rotates
    return App(client.cloud, clock, client.folder, scopes=(GRAPH_SCOPE, *UNCACHED), settings=settings)


async def statuses(app: App, *scopes: str) -> list[int]:
    """Ask for several tokens at once."""
    return [told.status for told in await asyncio.gather(*(app.ask(scope) for scope in scopes))]


@pytest.mark.parametrize("age", [60.0, 600.0], ids=["assertion in use", "assertion over"])
@pytest.mark.parametrize("rounds", [[[step] for step in DOCUMENTED], [DOCUMENTED]], ids=["step by step", "at once"])
def test_no_request_fails_in_the_documented_order(
    stolen: Stolen, fake_clock: FakeClock, rounds: Sequence[Sequence[Step]], age: float
) -> None:
    """One worker serves tokens that are cached and others, whether or not it still has an assertion of the old key.

    The rotation runs after each round, and does not register the old version again.
    """
    share = len(UNCACHED) // len(rounds)

    async def story() -> None:
        async with worker(stolen, fake_clock) as app:
            assert await statuses(app, GRAPH_SCOPE) == [200]
            fake_clock.tick(age)
            for number, steps in enumerate(rounds):
                for step in steps:
                    step(stolen)
                fresh = UNCACHED[number * share :][:share]
                assert await statuses(app, GRAPH_SCOPE, *fresh) == [200] * (1 + share), steps
                await app.rotate()

    asyncio.run(story())
    newest = RegisteredCertificate(x509.load_der_x509_certificate(latest(stolen.client)))
    assert {held.certificate for held in application(stolen.client).certificates.values()} == {newest}


def test_where_the_old_version_goes_first_the_cache_serves_until_the_new_one_is_there(
    stolen: Stolen, fake_clock: FakeClock
) -> None:
    """Other requests fail meanwhile; each has its token a minute after the new version is registered."""

    async def story() -> None:
        async with worker(stolen, fake_clock) as app:
            assert await statuses(app, GRAPH_SCOPE) == [200]
            fake_clock.tick(600)
            disable(stolen)
            take_off(stolen)
            assert await statuses(app, GRAPH_SCOPE, *UNCACHED) == [200, 502, 502, 502, 502]
            create(stolen)
            register(stolen)
            fake_clock.tick(REMEMBERED)
            assert await statuses(app, GRAPH_SCOPE, *UNCACHED) == [200] * 5

    asyncio.run(story())
