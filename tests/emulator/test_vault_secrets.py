import base64
import datetime as dt
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from emulator.refusal import Refusal
from emulator.vault.certificates import Material, make, write
from emulator.vault.policy import PEM, PFX, Policy
from tests.emulator.vault_clients import START, VaultClients, VaultHost

NOW = dt.datetime.fromtimestamp(START, dt.UTC)


@pytest.fixture
def clients(host: VaultHost) -> Iterator[VaultClients]:
    """An empty vault, and a principal `app` that may read secrets."""
    with host.vault() as clients:
        clients.vault.assign("app", "Key Vault Secrets User")
        yield clients


def test_the_secret_of_an_exportable_certificate_is_a_pfx_with_its_key(clients: VaultClients) -> None:
    """The value is base64 of a PFX without a password; its key is the certificate's."""
    version = clients.vault.create_certificate("vend", Policy("CN=vend"))
    secret = clients.secrets("app").get_secret("vend", version)
    assert secret.properties.content_type == PFX
    assert secret.value is not None
    key, certificate, others = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)
    expected = x509.load_der_x509_certificate(clients.vault.certificate("vend"))
    assert certificate == expected
    assert key is not None
    assert key.public_key() == expected.public_key()
    assert others == []


def test_the_secret_of_a_pem_policy_is_pem(clients: VaultClients) -> None:
    """The value is the key in PKCS #8, then the certificate."""
    clients.vault.create_certificate("vend", Policy("CN=vend", content_type=PEM))
    secret = clients.secrets("app").get_secret("vend")
    assert secret.properties.content_type == PEM
    assert secret.value is not None
    assert secret.value.startswith("-----BEGIN PRIVATE KEY-----")
    certificate = x509.load_pem_x509_certificate(secret.value.encode())
    assert certificate == x509.load_der_x509_certificate(clients.vault.certificate("vend"))
    assert load_pem_private_key(secret.value.encode(), None).public_key() == certificate.public_key()


def test_the_secret_of_a_key_that_is_not_exportable_holds_the_certificate_alone(clients: VaultClients) -> None:
    """The private key never leaves the vault, in neither form."""
    clients.vault.create_certificate("pfx", Policy("CN=vend", exportable=False))
    clients.vault.create_certificate("pem", Policy("CN=vend", exportable=False, content_type=PEM))
    client = clients.secrets("app")
    pfx, pem = client.get_secret("pfx").value, client.get_secret("pem").value
    assert pfx is not None
    key, certificate, others = pkcs12.load_key_and_certificates(base64.b64decode(pfx), None)
    assert key is None
    held = [certificate] if certificate else others
    assert held == [x509.load_der_x509_certificate(clients.vault.certificate("pfx"))]
    assert pem is not None
    assert "PRIVATE KEY" not in pem


def test_a_version_keeps_its_secret_when_the_policy_changes(clients: VaultClients) -> None:
    """A policy rules the next version: an existing key does not become exportable by a later word."""
    clients.vault.create_certificate("vend", Policy("CN=vend", exportable=False, content_type=PEM))
    clients.http().patch("/certificates/vend/policy", json={"key_props": {"exportable": True}}).raise_for_status()
    value = clients.secrets("app").get_secret("vend").value
    assert value is not None
    assert "PRIVATE KEY" not in value


def test_a_disabled_secret_cannot_be_read_and_an_expired_one_can(clients: VaultClients) -> None:
    """Disabling is the switch; dates do not lock anybody out of what is in the vault."""
    clients.vault.create_certificate("vend", Policy("CN=vend", validity_months=1, lifetime_actions=()))
    clients.clock.now += 40 * 86400
    client = clients.secrets("app")
    assert client.get_secret("vend").value
    clients.certificates().update_certificate_properties("vend", enabled=False)
    with pytest.raises(HttpResponseError, match="not allowed on a disabled secret") as caught:
        client.get_secret("vend")
    assert caught.value.status_code == 403


def test_a_secret_that_is_not_there_is_not_found(clients: VaultClients) -> None:
    """The code says what was asked for: a secret, not the certificate behind it."""
    with pytest.raises(ResourceNotFoundError) as caught:
        clients.secrets("app").get_secret("absent")
    assert caught.value.error is not None
    assert caught.value.error.code == "SecretNotFound"


@pytest.fixture(scope="module")
def issued() -> Material:
    """A certificate below two authorities."""
    root = make(Policy("CN=root"), now=NOW)
    middle, leaf = make(Policy("CN=middle"), now=NOW), make(Policy("CN=leaf"), now=NOW)
    middle_certificate = below(root, middle)
    return Material(below(middle, leaf), leaf.key, (middle_certificate, root.certificate))


def below(issuer: Material, subject: Material) -> x509.Certificate:
    """Sign a subject's key with an issuer's."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject.certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(subject.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(subject.certificate.not_valid_before_utc)
        .not_valid_after(subject.certificate.not_valid_after_utc)
        .sign(issuer.key, hashes.SHA256())
    )


@pytest.mark.parametrize("content_type", [PFX, PEM])
def test_the_secret_of_an_imported_certificate_has_its_chain(
    clients: VaultClients, issued: Material, content_type: str
) -> None:
    """The leaf comes first, then the authorities above it, in either form."""
    written = write(issued, content_type=content_type, exportable=True)
    clients.vault.import_certificate("vend", written, content_type=content_type)

    value = clients.secrets("app").get_secret("vend").value
    assert value is not None
    if content_type == PEM:
        chain = x509.load_pem_x509_certificates(value.encode())
    else:
        _, leaf, others = pkcs12.load_key_and_certificates(base64.b64decode(value), None)
        chain = [leaf, *others] if leaf else others
    assert chain == [issued.certificate, *issued.chain]


def test_a_plain_secret_has_versions(clients: VaultClients) -> None:
    """A name means its latest version, in any case of its letters; a named version answers too."""
    old = clients.vault.set_secret("password", "first", content_type="text/plain")
    new = clients.vault.set_secret("Password", "second", expires=int(START) + 60)
    client = clients.secrets("app")
    latest = client.get_secret("PASSWORD")
    assert (latest.value, latest.properties.version, latest.properties.content_type) == ("second", new, None)
    assert latest.id == f"{clients.url}/secrets/password/{new}"
    assert latest.properties.expires_on == NOW + dt.timedelta(seconds=60)
    named = client.get_secret("password", old)
    assert (named.value, named.properties.content_type) == ("first", "text/plain")
    assert clients.http("app").get("/secrets/password/0").json()["error"]["code"] == "SecretNotFound"


def test_a_disabled_version_of_a_plain_secret_is_refused_and_stays_the_latest(clients: VaultClients) -> None:
    """Disabling the latest does not bring the one before back; an expired one can be read."""
    clients.vault.set_secret("password", "first")
    clients.vault.set_secret("password", "second", expires=int(START) - 60)
    client = clients.secrets("app")
    assert client.get_secret("password").value == "second"
    clients.vault.set_secret_enabled("password", enabled=False)
    with pytest.raises(HttpResponseError, match="not allowed on a disabled secret"):
        client.get_secret("password")


def test_a_secret_and_a_certificate_cannot_have_one_name(clients: VaultClients) -> None:
    """The secret of a certificate takes its name, whichever came first."""
    clients.vault.set_secret("password", "first")
    clients.vault.create_certificate("vend", Policy("CN=vend"))
    with pytest.raises(Refusal, match="is not managed by a certificate"):
        clients.vault.create_certificate("Password", Policy("CN=vend"))
    with pytest.raises(ValueError, match="has a secret of its own"):
        clients.vault.set_secret("Vend", "first")


def test_a_plain_secret_needs_a_role_for_secrets(clients: VaultClients) -> None:
    """The signer of the app reads no secret."""
    clients.vault.set_secret("password", "first")
    clients.vault.assign("signer", "vend signer")
    assert clients.http("signer").get("/secrets/password").status_code == 403


@pytest.mark.parametrize("page", [1, None])
def test_the_versions_of_a_secret_are_listed_without_their_values(clients: VaultClients, page: int | None) -> None:
    """Those of a plain secret, and those of the secret of a certificate."""
    plain = {
        clients.vault.set_secret("plain", "value", expires=int(START) + 60),
        clients.vault.set_secret("plain", "other"),
    }
    clients.vault.set_secret_enabled("plain", enabled=False)
    made = {clients.vault.create_certificate("vend", Policy("CN=vend"))}
    client = clients.secrets("app")
    listed = list(client.list_properties_of_secret_versions("plain", max_page_size=page))
    assert {each.version for each in listed} == plain
    assert sorted(each.enabled is True for each in listed) == [False, True]
    assert {each.expires_on for each in listed} == {None, dt.datetime.fromtimestamp(int(START) + 60, dt.UTC)}
    assert {each.version for each in client.list_properties_of_secret_versions("vend")} == made
    with pytest.raises(ResourceNotFoundError):
        list(client.list_properties_of_secret_versions("nothing"))
