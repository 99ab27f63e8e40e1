"""The remedies of Entra's numbers about credentials: each is followed, and a token comes of it."""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from jwt.algorithms import RSAAlgorithm

from emulator import base64url
from emulator.cloud import LocalCloud
from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import Api, Application, TrustedSubject
from emulator.seed import IDENTITY_PRINCIPAL_ID, ORDERS, TENANT_ID, TOKEN_EXCHANGE
from emulator.vault.policy import Policy
from shared.core.entra.aadsts import known_codes
from tests.clock import FakeClock
from tests.credentials import kinds
from tests.credentials.kinds import Client, new_client
from tests.emulator.client import new_principal, signed_token
from tests.in_process import GRAPH_SCOPE, ORDERS_SCOPE, App
from tests.pki import PrivateKey, Signed, pem, rsa_key, signed

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
        mistake: a line of vend.toml that the remedy takes away.
        scope: that the caller asks for.
        restarts: whether the remedy is another vend.toml, so that the app starts again.
    """

    number: int
    credential: Callable[[Client], str]
    says: str
    follow: Callable[[Client], object]
    behind: float = 0.0
    mistake: str = ""
    scope: str = GRAPH_SCOPE
    restarts: bool = False


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
    signed_text = jwt.encode(claims, kinds.foreign_key(), algorithm="RS256", headers=kinds.FOREIGN_HEADER)
    client.write("assertion", signed_text.encode())


def publish(client: Client) -> None:
    """Publish its keys."""
    kinds.publish(client, f"https://{client.id}.example")


def withdrawn_key(client: Client) -> str:
    """Have the issuer publish another key than the one that signs."""
    credential = hidden_issuer(client)
    another = json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())) | {"kid": "of-yesterday"}
    client.cloud.directory.publish_keys(f"https://{client.id}.example", {"keys": [another]})
    return credential


def signed_by(algorithm: str, key: Callable[[], PrivateKey | str], **changed: int) -> Callable[[Client], str]:
    """Have the writer of the assertion file sign by another algorithm or key, or other claims."""

    def make(client: Client) -> str:
        credential = kinds.assertion_file(client)
        claims = jwt.decode(assertion(client), options={"verify_signature": False}) | changed
        text = jwt.encode(claims, key(), algorithm=algorithm, headers=kinds.FOREIGN_HEADER)
        client.write("tokens/assertion", text.encode())
        return credential

    return make


def elliptic_key() -> PrivateKey:
    """Make a key that Entra verifies nothing with."""
    return ec.generate_private_key(ec.SECP256R1())


def assertion(client: Client) -> str:
    """Read the assertion file."""
    return (client.folder / "tokens" / "assertion").read_text().strip()


def altered(client: Client) -> str:
    """Have the writer of the assertion file change the header of a token that is signed already."""
    credential = kinds.assertion_file(client)
    _, payload, signature = assertion(client).split(".")
    header = {"alg": "RS256", "typ": "at+jwt", **kinds.FOREIGN_HEADER}
    text = ".".join((base64url.encode(json.dumps(header).encode()), payload, signature))
    client.write("tokens/assertion", text.encode())
    return credential


def issued(client: Client) -> Signed:
    """Write a certificate that the authority of the tests has issued, and return it."""
    now = client.now
    _, issuing, _ = kinds.authority(now.date())
    made = signed("vend", starts=now - kinds.DAY, ends=now + kinds.DAY, by=issuing)
    client.write("vend.pem", pem(made.key, made.certificate, issuing.certificate))
    return made


def trust(client: Client, name: str, *revoked: str) -> None:
    """Trust the certificates that an authority issues to a subject."""
    _, _, root = kinds.authority(client.now.date())
    client.cloud.directory.trust_subjects(client.id, TrustedSubject(name, root.certificate, frozenset(revoked)))


BY_SUBJECT = 'type = "certificate_file", path = "vend.pem", send_x5c = true'


def of_another_subject(client: Client) -> str:
    """Trust another subject than that of the certificate."""
    issued(client)
    trust(client, "CN=another")
    return BY_SUBJECT


def register_file(client: Client) -> None:
    """Do as `az ad app credential reset --append --cert`: register the certificate in the file."""
    (leaf, *_) = x509.load_pem_x509_certificates((client.folder / "vend.pem").read_bytes())
    client.cloud.directory.register_certificate(client.id, leaf.public_bytes(Encoding.DER))


def revoked(client: Client) -> str:
    """Trust the subject, and revoke the certificate."""
    made = issued(client)
    trust(client, "CN=vend", RegisteredCertificate(made.certificate).thumbprint)
    return BY_SUBJECT


def assigned_api(client: Client) -> str:
    """Ask for an API that hands out tokens to assigned clients alone."""
    client.cloud.directory.add_api(replace(orders(client), assignment_required=True))
    return kinds.in_vault(client)


def assign(client: Client) -> None:
    """Do as `az ad app permission admin-consent`, for an application permission of the API."""
    principal = client.cloud.directory.service_principal(client.id, tenant_id=TENANT_ID)
    assert principal
    client.cloud.directory.grant(principal.object_id, resource=ORDERS, roles=frozenset({"Orders.Read.All"}))


def nothing(_: Client) -> None:
    """Leave everything as it is: time, or the corrected vend.toml, is the remedy."""


def orders(client: Client) -> Api:
    """Return that API."""
    api = client.cloud.directory.api(ORDERS)
    assert api
    return api


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


NOBODY = "https://nobody.example/.default"
NO_TENANT = 'profiles.graph.tenants = ["00000000-0000-4000-8000-000000000000"]\n'
FEDERATION = "compare issuer, subject (the object ID of the managed identity) and audience"
PRINCIPAL = "compare client_id and tenants of the profile with the app registration"
SECRET = "make a new secret, az ad app credential reset"
UPLOAD = "make the certificate known to the app registration"
NEW_CERTIFICATE = "make a new certificate"
RS256 = "have the issuer of an assertion file sign by RS256"
WRITER = "see what writes the assertion file"
REMEDIES = (
    Remedy(700027, unregistered, UPLOAD, upload),
    Remedy(50012, of_another_subject, UPLOAD, register_file),
    Remedy(1000502, ended, NEW_CERTIFICATE, new_file, behind=400),
    Remedy(7000214, revoked, NEW_CERTIFICATE, issued),
    Remedy(5002730, signed_by("HS256", lambda: "a" * 32), RS256, kinds.write_assertion),
    Remedy(5002738, signed_by("ES256", elliptic_key), RS256, kinds.write_assertion),
    Remedy(7000274, altered, WRITER, kinds.write_assertion),
    Remedy(700024, signed_by("RS256", kinds.foreign_key, exp=1), "check that the writer", kinds.write_assertion),
    Remedy(7000272, withdrawn_key, "have the issuer publish its present keys", publish),
    Remedy(7000215, wrong_secret, SECRET, kinds.vault_secret),
    Remedy(7000222, old_secret, SECRET, kinds.vault_secret),
    Remedy(70021, spreading, FEDERATION, nothing),
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
    Remedy(501051, assigned_api, "give the app registration an application permission", assign, scope=ORDERS_SCOPE),
    Remedy(500011, kinds.in_vault, "correct scopes of the profile", nothing, scope=NOBODY, restarts=True),
    Remedy(90002, kinds.in_vault, "correct tenants of the profile", nothing, mistake=NO_TENANT, restarts=True),
)

DEFECT = "no credential of vend makes such a request, and its remedy is a report"
VALIDATED = "vend.toml cannot say so: another value is a mistake that is reported before anything is sent"
NO_SOURCE = "no public source says what leads to it; its remedy is that of 7000214"
USERS = "Microsoft's reference has it for signed-in users; an app alone gets 501051"
ENTRA_ALONE = "a state of Entra's own, which no request brings about and which passes or is an administrator's"
UNREHEARSED = {
    **dict.fromkeys((7000277, 7005004), NO_SOURCE),
    **dict.fromkeys((500181, 50027, 50048, 51000, 70003, 700021, 7000216, 7000218, 900144, 9000411, 9002313), DEFECT),
    **dict.fromkeys((70011, 1002012, 90011), VALIDATED),
    **dict.fromkeys((50105, 65001), USERS),
    **dict.fromkeys((50196, 53003, 90033, 90055), ENTRA_ALONE),
    50001: "the form of 500011 in older versions of Entra",
    500207: "of APIs for personal accounts, which no tenant of an organisation has",
    70002: "it never comes alone, and the number beside it has the remedy",
    700023: "another cloud in vend.toml asks another Entra, which does not know the tenant: 90002",
    7002137: "of subjects that services of Microsoft make; its remedy is that of 700213",
    100007: "vend goes on by the global endpoint in the same flight, and the caller has its token",
}
"""The numbers of the table that no test brings about, each with the reason."""


def test_each_number_of_the_table_is_rehearsed_or_says_why_not() -> None:
    """Nobody adds a number without either, and no reason outlives its number."""
    rehearsed = {remedy.number for remedy in REMEDIES}
    assert rehearsed | UNREHEARSED.keys() == known_codes()
    assert not rehearsed & UNREHEARSED.keys()


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
        wrong = remedy.mistake + settings
        async with App(timeless, fake_clock, tmp_path, scopes=(remedy.scope,), settings=wrong) as app:
            assert (await app.ask(remedy.scope)).status in {400, 502, 503}
            failed = app.everything("acquire_failed")[-1]
            assert failed["cause"] == f"AADSTS{remedy.number}"
            assert failed["remedy"].startswith(remedy.says)
            remedy.follow(client)
            fake_clock.tick(REMEMBERED)
            if not remedy.restarts:
                assert (await app.ask(remedy.scope)).status == 200, app.lines
                return
        async with App(timeless, fake_clock, tmp_path, settings=settings) as app:
            assert (await app.ask()).status == 200, app.lines

    timeless.vault.assign(IDENTITY_PRINCIPAL_ID, kinds.READS_SECRETS)
    try:
        asyncio.run(story())
    finally:
        fake_clock.jump(remedy.behind)
