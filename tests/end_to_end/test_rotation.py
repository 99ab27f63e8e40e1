"""A certificate renews itself: Key Vault by its policy, the app registration by the timer, and vending by the chain."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import KeyPolicy
from emulator.seed import CERTIFICATE, CLIENT_ID, IDENTITY_PRINCIPAL_ID, OBJECT_ID, TENANT_ID
from emulator.tour.site import app_settings
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.in_process import GRAPH_SCOPE, App

pytestmark = pytest.mark.slow

HOUR = 3_600.0
MONTH = 30 * 24 * HOUR
EXPORTED = "exported"


@pytest.fixture
def renewing(tmp_path: Path, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A cloud of its own for each test: what one has registered, no other can take away."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    with LocalCloud(folder, now=fake_clock.wall) as cloud:
        for name, value in app_settings(cloud, folder).items():
            monkeypatch.setenv(name, value)
        yield cloud


def rotating(cloud: LocalCloud) -> str:
    """Write the lines of a vend.toml whose two profiles rotate: one key signs in the vault, the other in the app."""
    credential = {"type": "certificate", "vault": cloud.vault_url, "name": EXPORTED, "signing": "local"}
    values = {
        "graph.application_object_id": OBJECT_ID,
        "local.application_object_id": OBJECT_ID,
        "local.tenants": [TENANT_ID],
        "local.client_id": CLIENT_ID,
        "local.scopes": [GRAPH_SCOPE],
    }
    inline = ", ".join(f"{name} = {json.dumps(value)}" for name, value in credential.items())
    lines = [f"profiles.{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join([*lines, f"profiles.local.credentials = [{{ {inline} }}]"])


def keys(cloud: LocalCloud) -> int:
    """Count the certificates of the app registration."""
    application = cloud.directory.application(CLIENT_ID)
    assert application
    return len(application.certificates)


def test_a_certificate_is_renewed_registered_and_used_without_hands(
    renewing: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-30: over TLS, in both signing modes; a policy that forbids the new version is named, and waited for."""
    renewing.vault.create_certificate(EXPORTED, Policy(subject="CN=vend", exportable=True))
    renewing.directory.register_certificate(CLIENT_ID, renewing.vault.certificate(EXPORTED))
    renewing.vault.assign(IDENTITY_PRINCIPAL_ID, "Key Vault Secrets User")
    first = {name: renewing.vault.versions(name) for name in (CERTIFICATE, EXPORTED)}

    async def story() -> None:
        async with App(renewing, fake_clock, tmp_path, settings=rotating(renewing)) as app:
            assert (await app.ask()).status == 200
            assert await app.rotate() == []
            while len(renewing.vault.versions(CERTIFICATE)) == 1:
                fake_clock.tick(HOUR)  # at the full hour: so the versions are of the hour before
            renewing.directory.key_policy = KeyPolicy(longest_life=MONTH)
            causes = [event["cause"] for event in await app.rotate()]
            assert causes == ["Graph: HTTP 400 CredentialInvalidLifetimeAsPerAppPolicy"] * 2
            renewing.directory.key_policy = KeyPolicy()
            fake_clock.tick(2 * HOUR)
            assert await app.rotate() == []
            fake_clock.tick(HOUR)
            assert [event["event"] for event in await app.rotate()] == ["credential_registered"] * 2
            assert await app.rotate() == []
        for name, versions in first.items():
            assert len(renewing.vault.versions(name)) == 2
            renewing.vault.set_enabled(name, versions[0], enabled=False)
        async with App(renewing, fake_clock, tmp_path, settings=rotating(renewing)) as app:
            assert (await app.ask()).status == 200

    asyncio.run(story())
    assert keys(renewing) == 4


def test_profiles_of_one_registration_register_a_version_once(
    renewing: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-30: they share certificate and registration, whose keys Graph counts: nobody can add one to 600."""
    values = {
        "graph.application_object_id": OBJECT_ID,
        "other.application_object_id": OBJECT_ID.upper(),
        "other.tenants": [TENANT_ID],
        "other.client_id": CLIENT_ID.upper(),
        "other.scopes": [GRAPH_SCOPE],
    }
    lines = [f"profiles.{name} = {json.dumps(value)}" for name, value in values.items()]
    vault = json.dumps(f"{renewing.vault_url}/")
    registered, versions = keys(renewing), len(renewing.vault.versions(CERTIFICATE))
    lines.append(f'profiles.other.credentials = [{{ type = "certificate", vault = {vault}, name = "{CERTIFICATE}" }}]')

    async def story() -> None:
        async with App(renewing, fake_clock, tmp_path, settings="\n".join(lines)) as app:
            while len(renewing.vault.versions(CERTIFICATE)) == versions:
                fake_clock.tick(HOUR)
            assert [event["event"] for event in await app.rotate()] == ["credential_registered"]

    asyncio.run(story())
    assert keys(renewing) == registered + 1
