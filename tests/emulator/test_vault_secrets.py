import base64
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from emulator.vault.policy import PEM, PFX, Policy
from tests.emulator.vault_clients import VaultClients, VaultHost


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
    clients.vault.create_certificate("vend", Policy("CN=vend", validity_months=1))
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
