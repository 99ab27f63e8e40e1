"""The remedies of Entra's numbers about credentials: each is followed, and a token comes of it."""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import jwt
import pytest
from jwt.algorithms import RSAAlgorithm

from emulator.cloud import LocalCloud
from emulator.directory.objects import Application
from emulator.seed import IDENTITY_PRINCIPAL_ID, TENANT_ID, TOKEN_EXCHANGE
from emulator.vault.policy import Policy
from tests.clock import FakeClock
from tests.credentials import kinds
from tests.credentials.kinds import Client, new_client
from tests.emulator.client import new_principal, signed_token
from tests.in_process import App
from tests.pki import pem, signed

pytestmark = pytest.mark.slow

REMEMBERED = 61.0
"""Seconds after which no refusal is remembered any more."""


@dataclass(frozen=True)
class Remedy:
    """A number, how it comes about, and what its remedy says.

    Args:
        number: of Entra.
        credential: makes a credential that Entra refuses with this number.
        says: what the remedy begins with.
        follow: does it.
        behind: seconds that the wall clock of the app is behind that of Entra.
    """

    number: int
    credential: Callable[[Client], str]
    says: str
    follow: Callable[[Client], object]
    behind: float = 0.0


def unregistered(client: Client) -> str:
    """Make a certificate in the vault that Entra does not know."""
    credential = kinds.in_vault(client)
    take_off(client)
    return credential


def take_off(client: Client) -> None:
    """Take the certificates of a client off its registration."""
    application = client.cloud.directory.application(client.id)
    assert application
    for key_id in application.certificates:
        client.cloud.directory.remove_certificate(client.id, key_id)


def upload(client: Client) -> None:
    """Do as `az ad app credential reset --append --keyvault`: register the latest version."""
    certificate = client.cloud.vault.certificate(client.vault_certificate)
    client.cloud.directory.register_certificate(client.id, certificate)


def ended(client: Client) -> str:
    """Write a certificate that ends in 100 s."""
    new_file(client, ends=100)
    return 'type = "certificate_file", path = "vend.pem"'


def new_file(client: Client, *, ends: float = 86_400) -> None:
    """Write a certificate that ends so many seconds from now, and register it."""
    now = client.now
    made = signed("vend", starts=now - kinds.DAY, ends=now + dt.timedelta(seconds=ends))
    client.write("vend.pem", pem(made.key, made.certificate))
    kinds.register(client, made)


def wrong_secret(client: Client) -> str:
    """Put into the vault what an operator may take for the secret."""
    client.cloud.vault.set_secret(client.vault_secret, "4e1f5a3c-the-id-of-the-secret")
    return f'type = "secret", vault = "{client.cloud.vault_url}", name = "{client.vault_secret}"'


def old_secret(client: Client) -> str:
    """Put a secret into the vault that ends at once."""
    client.cloud.vault.set_secret(client.vault_secret, client.cloud.directory.add_secret(client.id, lifetime=0))
    return f'type = "secret", vault = "{client.cloud.vault_url}", name = "{client.vault_secret}"'


def federated(**wrong: str) -> Callable[[Client], str]:
    """Trust somebody else than the app's identity."""

    def make(client: Client) -> str:
        credential = kinds.federated(client)
        correct(client, **wrong)
        return credential

    return make


def correct(client: Client, **changed: str) -> None:
    """Have the one federated credential be as it must, but for what is changed."""
    directory = client.cloud.directory
    application = directory.application(client.id)
    assert application
    for credential_id in application.federated_credentials:
        directory.remove_federated_credential(client.id, credential_id)
    issuer = f"{client.cloud.authority}/{TENANT_ID}/v2.0"
    right = {"issuer": issuer, "subject": IDENTITY_PRINCIPAL_ID, "audience": TOKEN_EXCHANGE}
    directory.add_federated_credential(client.id, **(right | changed))


def not_trusted(client: Client) -> str:
    """Have no federated credential at all."""
    credential = kinds.federated(client)
    application = client.cloud.directory.application(client.id)
    assert application
    for credential_id in application.federated_credentials:
        client.cloud.directory.remove_federated_credential(client.id, credential_id)
    return credential


def spreading(client: Client) -> str:
    """Add a federated credential that Entra does not know for a minute."""
    client.cloud.directory.propagation_seconds = 60.0
    credential = kinds.federated(client)
    client.cloud.directory.propagation_seconds = 0.0
    return credential


def disabled(client: Client) -> str:
    """Disable the service principal."""
    enable(client, enabled=False)
    return kinds.in_vault(client)


def enable(client: Client, *, enabled: bool = True) -> None:
    """Do as `az ad sp update --set accountEnabled`."""
    principal = client.cloud.directory.service_principal(client.id, tenant_id=TENANT_ID)
    assert principal
    client.cloud.directory.set_enabled(principal.object_id, enabled=enabled)


def another_client(client: Client) -> None:
    """Have the profile name a client that has an app registration and no service principal."""
    client.id = str(uuid.uuid4())
    client.cloud.directory.add_application(Application(client.id, object_id=str(uuid.uuid4()), name="somebody"))


def no_principal(client: Client) -> str:
    """Have a registration that no tenant has let in."""
    another_client(client)
    return kinds.in_vault(client)


def let_in(client: Client) -> None:
    """Do as `az ad sp create`."""
    client.cloud.directory.consent(client.id, tenant_id=TENANT_ID)


def no_client(client: Client) -> str:
    """Name a client that the tenant does not know."""
    client.id = str(uuid.uuid4())
    client.cloud.vault.create_certificate(client.vault_certificate, Policy("CN=vend"))
    return f'type = "certificate", vault = "{client.cloud.vault_url}", name = "{client.vault_certificate}"'


def correct_client(client: Client) -> None:
    """Have the client be one that the tenant knows."""
    client.cloud.directory.add_application(Application(client.id, object_id=str(uuid.uuid4()), name="somebody"))
    let_in(client)
    upload(client)


def hidden_issuer(client: Client) -> str:
    """Trust an issuer whose keys Entra cannot read."""
    issuer = f"https://{client.id}.example"
    write_assertion(client, issuer)
    client.cloud.directory.add_federated_credential(
        client.id, issuer=issuer, subject=client.id, audience=TOKEN_EXCHANGE
    )
    return 'type = "assertion_file", path = "assertion"'


def write_assertion(client: Client, issuer: str) -> None:
    """Write an assertion of a foreign issuer."""
    claims = {"iss": issuer, "sub": client.id, "aud": TOKEN_EXCHANGE, "exp": int(client.cloud.clock()) + 600}
    client.write("assertion", jwt.encode(claims, kinds.foreign_key(), algorithm="RS256").encode())


def publish(client: Client) -> None:
    """Publish its keys."""
    keys = [json.loads(RSAAlgorithm.to_jwk(kinds.foreign_key().public_key()))]
    client.cloud.directory.publish_keys(f"https://{client.id}.example", {"keys": keys})


def of_an_app(client: Client) -> str:
    """Send the token of an app registration as proof."""
    principal = new_principal(client.cloud)
    client.cloud.directory.add_federated_credential(
        client.id,
        issuer=f"{client.cloud.authority}/{TENANT_ID}/v2.0",
        subject=principal.object_id,
        audience=TOKEN_EXCHANGE,
    )
    client.write("assertion", signed_token(client.cloud, principal, resource=TOKEN_EXCHANGE).encode())
    return 'type = "assertion_file", path = "assertion"'


def of_a_provider(client: Client) -> None:
    """Send an assertion of a provider outside of Entra."""
    hidden_issuer(client)
    publish(client)


FEDERATION = "compare issuer, subject (the object id of the managed identity) and audience"
PRINCIPAL = "compare client_id and tenants of the profile with the app registration"
SECRET = "make a new secret, az ad app credential reset"
REMEDIES = (
    Remedy(700027, unregistered, "make the certificate known to the app registration", upload),
    Remedy(1000502, ended, "make a new certificate", new_file, behind=400),
    Remedy(7000215, wrong_secret, SECRET, kinds.vault_secret),
    Remedy(7000222, old_secret, SECRET, kinds.vault_secret),
    Remedy(70021, spreading, FEDERATION, lambda _: None),
    Remedy(70025, not_trusted, FEDERATION, correct),
    Remedy(700211, federated(issuer="https://login.example/v2.0"), FEDERATION, correct),
    Remedy(700212, federated(audience="api://AzureADTokenExchangeChina"), FEDERATION, correct),
    Remedy(700213, federated(subject="00000000-0000-4000-8000-000000000000"), FEDERATION, correct),
    Remedy(7002138, federated(subject=IDENTITY_PRINCIPAL_ID.upper()), FEDERATION, correct),
    Remedy(501661, hidden_issuer, "have the issuer publish", publish),
    Remedy(700226, of_an_app, "use type = federated_managed_identity", of_a_provider),
    Remedy(700016, no_client, PRINCIPAL, correct_client),
    Remedy(7000229, no_principal, PRINCIPAL, let_in),
    Remedy(7000112, disabled, "find out who disabled it and why", enable),
)


@pytest.mark.parametrize("remedy", REMEDIES, ids=attrgetter("number"))
def test_a_remedy_that_is_followed_brings_a_token(
    remedy: Remedy, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """The event names the number and its remedy; once that is done, the worker has a token within a minute."""
    client = new_client(timeless, tmp_path)

    async def story() -> None:
        settings = client.settings(remedy.credential(client))
        fake_clock.jump(-remedy.behind)
        fake_clock.tick(remedy.behind / 2)
        async with App(timeless, fake_clock, tmp_path, settings=settings) as app:
            assert (await app.ask()).status in {502, 503}
            failed = app.everything("acquire_failed")[-1]
            assert failed["cause"] == f"AADSTS{remedy.number}"
            assert failed["remedy"].startswith(remedy.says)
            remedy.follow(client)
            fake_clock.tick(REMEMBERED)
            assert (await app.ask()).status == 200, app.lines

    timeless.vault.assign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)
    try:
        asyncio.run(story())
    finally:
        fake_clock.jump(remedy.behind)
