import gc
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from emulator.cloud import LocalCloud
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID


@pytest.fixture
def identity(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentityCredential]:
    """The stock credential of a process that the platform gave an identity."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)
    with ManagedIdentityCredential(client_id=IDENTITY_CLIENT_ID, use_env_settings=False) as credential:
        yield credential
    gc.collect()  # an SDK client that raised holds its connection until then


def vault_options(cloud: LocalCloud) -> dict[str, Any]:
    """Make a stock client trust the local vault."""
    return {"verify_challenge_resource": False, "connection_verify": str(cloud.ca_file), "use_env_settings": False}


def test_the_identity_may_sign_with_the_certificate(cloud: LocalCloud, identity: ManagedIdentityCredential) -> None:
    """The stock clients read the certificate and sign with its key, which never leaves the vault."""
    with CertificateClient(cloud.vault_url, identity, **vault_options(cloud)) as certificates:
        known = certificates.get_certificate(CERTIFICATE)
    assert known.key_id
    assert known.cer
    with CryptographyClient(known.key_id, identity, **vault_options(cloud)) as key:
        signature = key.sign(SignatureAlgorithm.ps256, hashlib.sha256(b"what is signed").digest()).signature

    public = x509.load_der_x509_certificate(bytes(known.cer)).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    public.verify(signature, b"what is signed", pss, hashes.SHA256())


def test_the_identity_may_not_read_secrets(cloud: LocalCloud, identity: ManagedIdentityCredential) -> None:
    """The secret behind the certificate, where a key could be read, is refused."""
    with (
        SecretClient(cloud.vault_url, identity, **vault_options(cloud)) as secrets,
        pytest.raises(HttpResponseError) as refusal,
    ):
        secrets.get_secret(CERTIFICATE)

    assert refusal.value.status_code == 403
