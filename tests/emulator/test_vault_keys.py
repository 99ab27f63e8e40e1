import base64
from collections.abc import Iterator
from hashlib import sha256

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.crypto import SignatureAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from emulator.vault.policy import Policy
from tests.emulator.vault_clients import VaultClients, VaultHost

MESSAGE = b"header.payload"
DIGEST = sha256(MESSAGE).digest()
PADDINGS = {
    SignatureAlgorithm.ps256: padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32),
    SignatureAlgorithm.rs256: padding.PKCS1v15(),
}

POLICY = Policy("CN=vend", exportable=False, validity_months=1, lifetime_actions=())


@pytest.fixture
def clients(host: VaultHost) -> Iterator[VaultClients]:
    """A vault with a non-exportable certificate, and a principal `app` that may only sign."""
    with host.vault() as clients:
        clients.vault.create_certificate("vend", POLICY)
        clients.vault.assign("app", "vend signer")
        yield clients


def public_key(clients: VaultClients, version: str | None = None) -> rsa.RSAPublicKey:
    """The key that a verifier takes from the certificate."""
    key = x509.load_der_x509_certificate(clients.vault.certificate("vend", version)).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return key


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_a_signature_made_in_the_vault_verifies_with_the_certificate(
    clients: VaultClients, algorithm: SignatureAlgorithm
) -> None:
    """The stock client signs a digest remotely, with a private key that never leaves the vault."""
    signed = clients.cryptography("vend", principal="app").sign(algorithm, DIGEST)
    public_key(clients).verify(signed.signature, MESSAGE, PADDINGS[algorithm], hashes.SHA256())


def test_a_named_version_signs_with_its_own_key(clients: VaultClients) -> None:
    """An older version keeps signing as itself; an address without a version means the newest."""
    [old] = [each.version for each in clients.certificates().list_properties_of_certificate_versions("vend")]
    new = clients.vault.create_certificate("vend", Policy("CN=vend"))
    for version, address in [(old, f"/keys/vend/{old}/sign"), (new, "/keys/vend/sign")]:
        answer = clients.http().post(address, json={"alg": "RS256", "value": _base64url(DIGEST)}).json()
        signature = base64.urlsafe_b64decode(answer["value"] + "==")
        public_key(clients, version).verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
        assert answer["kid"] == f"{clients.url}/keys/vend/{version}"


def test_a_key_shows_its_public_half_and_nothing_more(clients: VaultClients) -> None:
    """The JWK is the certificate's public key, without a private member."""
    key = clients.http().get("/keys/vend").json()["key"]
    assert key.keys() == {"kid", "kty", "key_ops", "n", "e"}
    number = int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big")
    assert number == public_key(clients).public_numbers().n
    assert clients.keys().get_key("vend").key_operations == ["sign", "unwrapKey", "verify", "wrapKey"]


@pytest.mark.parametrize(
    ("seconds", "refused"),
    [
        (-601, "KeyNotYetValid"),
        (-600, None),
        (31 * 86400 - 1, None),
        (31 * 86400, "KeyExpired"),
    ],
)
def test_a_key_signs_only_within_the_validity_of_its_certificate(
    clients: VaultClients, seconds: int, refused: str | None
) -> None:
    """Validity starts ten minutes before creation, includes its first second and excludes its last."""
    client = clients.cryptography("vend", principal="app")
    clients.clock.now += seconds
    if refused is None:
        assert client.sign(SignatureAlgorithm.ps256, DIGEST).signature
        return
    with pytest.raises(HttpResponseError, match="Operation sign is not allowed on") as caught:
        client.sign(SignatureAlgorithm.ps256, DIGEST)
    assert caught.value.error is not None
    assert caught.value.error.innererror == {"code": refused}


def test_a_disabled_version_does_not_sign(clients: VaultClients) -> None:
    """Disabling the certificate disables its key, which can still be read."""
    clients.certificates().update_certificate_properties("vend", enabled=False)
    with pytest.raises(HttpResponseError, match="not allowed on a disabled key") as caught:
        clients.cryptography("vend", principal="app").sign(SignatureAlgorithm.ps256, DIGEST)
    assert caught.value.status_code == 403
    assert clients.keys().get_key("vend").properties.enabled is False


def test_a_key_of_a_certificate_that_is_not_for_signatures_does_not_sign(clients: VaultClients) -> None:
    """What a key may do follows from the certificate's key usage."""
    clients.vault.create_certificate("box", Policy("CN=box", key_usage=("keyEncipherment",)))
    with pytest.raises(HttpResponseError, match="not permitted on this key") as caught:
        clients.cryptography("box", principal="app").sign(SignatureAlgorithm.ps256, DIGEST)
    assert caught.value.status_code == 403


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_what_cannot_be_signed_is_refused(clients: VaultClients) -> None:
    """A digest must have the length of the algorithm's hash, and the algorithm must fit an RSA key."""
    http = clients.http("app")
    cases: list[dict[str, object]] = [
        {},
        {"alg": "PS256"},
        {"alg": "PS256", "value": _base64url(DIGEST[:31])},
        {"alg": "PS512", "value": _base64url(DIGEST)},
        {"alg": "PS256", "value": "not base64url!"},
        {"alg": "PS256", "value": 7},
        {"alg": "ES256", "value": _base64url(DIGEST)},
        {"alg": "HS256", "value": _base64url(DIGEST)},
    ]
    answers = [http.post("/keys/vend/sign", json=case) for case in cases]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(400, "BadParameter")] * 8
    assert http.post("/keys/absent/sign", json=cases[0]).json()["error"]["code"] == "KeyNotFound"


@pytest.mark.parametrize(
    ("curve", "algorithm", "digest"),
    [
        ("P-256", SignatureAlgorithm.es256, hashes.SHA256()),
        ("P-384", SignatureAlgorithm.es384, hashes.SHA384()),
        ("P-521", SignatureAlgorithm.es512, hashes.SHA512()),
        ("P-256K", SignatureAlgorithm.es256_k, hashes.SHA256()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_elliptic_key_signs_as_jose_does(
    clients: VaultClients, curve: str, algorithm: SignatureAlgorithm, digest: hashes.HashAlgorithm
) -> None:
    """The signature is two numbers side by side, and the JWK is the point of the certificate's key."""
    policy = {"x509_props": {"subject": "CN=vend"}, "key_props": {"kty": "EC", "crv": curve}}
    clients.http().post("/certificates/elliptic/create", json={"policy": policy}).raise_for_status()
    signed = clients.cryptography("elliptic", principal="app").sign(algorithm, new_digest(digest))
    key = x509.load_der_x509_certificate(clients.vault.certificate("elliptic")).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = len(signed.signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signed.signature[:half], signed.signature[half:]))
    key.verify(encode_dss_signature(r, s), MESSAGE, ec.ECDSA(digest))
    shown = clients.http().get("/keys/elliptic").json()["key"]
    assert shown.keys() == {"kid", "kty", "key_ops", "crv", "x", "y"}
    assert int.from_bytes(base64.urlsafe_b64decode(shown["x"] + "=="), "big") == key.public_numbers().x
    assert (shown["kty"], shown["crv"], shown["key_ops"]) == ("EC", curve, ["sign", "verify"])


def new_digest(algorithm: hashes.HashAlgorithm) -> bytes:
    """Hash the message."""
    digest = hashes.Hash(algorithm)
    digest.update(MESSAGE)
    return digest.finalize()


def test_an_elliptic_key_refuses_the_algorithms_of_rsa(clients: VaultClients) -> None:
    """The refusal names the type of the key."""
    clients.vault.create_certificate("elliptic", Policy("CN=vend", curve="P-256", key_usage=("digitalSignature",)))
    answer = clients.http("app").post("/keys/elliptic/sign", json={"alg": "PS256", "value": _base64url(DIGEST)})
    assert (answer.status_code, "is of type 'EC'" in answer.json()["error"]["message"]) == (400, True)
