"""The key of a certificate: its public half as a JWK, and signatures over digests."""

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from emulator import base64url
from emulator.vault.certificates import PrivateKey, curve_of
from emulator.vault.errors import bad_parameter, not_allowed, not_permitted
from emulator.vault.store import Version


@dataclass(frozen=True)
class Algorithm:
    """A signature algorithm of RFC 7518 section 3.1; the curve of an elliptic one is fixed."""

    digest: hashes.HashAlgorithm
    pss: bool = False
    curve: str | None = None

    @property
    def padding(self) -> padding.AsymmetricPadding:
        """The padding of RSA; the salt of PSS is as long as the digest (RFC 7518 section 3.5)."""
        if not self.pss:
            return padding.PKCS1v15()
        return padding.PSS(mgf=padding.MGF1(self.digest), salt_length=padding.PSS.DIGEST_LENGTH)


ALGORITHMS = {
    "PS256": Algorithm(hashes.SHA256(), pss=True),
    "PS384": Algorithm(hashes.SHA384(), pss=True),
    "PS512": Algorithm(hashes.SHA512(), pss=True),
    "RS256": Algorithm(hashes.SHA256()),
    "RS384": Algorithm(hashes.SHA384()),
    "RS512": Algorithm(hashes.SHA512()),
    "ES256": Algorithm(hashes.SHA256(), curve="P-256"),
    "ES256K": Algorithm(hashes.SHA256(), curve="P-256K"),
    "ES384": Algorithm(hashes.SHA384(), curve="P-384"),
    "ES512": Algorithm(hashes.SHA512(), curve="P-521"),
}


def jwk(version: Version, kid: str) -> dict[str, object]:
    """Return the public key (RFC 7518 sections 6.2.1 and 6.3.1)."""
    common: dict[str, object] = {"kid": kid, "key_ops": list(version.policy.operations())}
    key = version.material.key
    if isinstance(key, rsa.RSAPrivateKey):
        modulus = key.public_key().public_numbers()
        return common | {"kty": "RSA", "n": _number(modulus.n), "e": _number(modulus.e)}
    point, size = key.public_key().public_numbers(), _octets(key)
    return common | {
        "kty": "EC",
        "crv": curve_of(key.curve),
        "x": _number(point.x, size),
        "y": _number(point.y, size),
    }


def sign(version: Version, *, algorithm: str, value: str, now: float) -> str:
    """Sign a digest (base64url) and return the signature as base64url.

    Raises:
        Refusal: 403 if the version is disabled, its key may not sign, or `now` is outside its validity; 400 if
            algorithm, key and digest do not fit each other.
    """
    _refuse_by_state(version, now)
    chosen = ALGORITHMS.get(algorithm)
    if chosen is None:
        raise bad_parameter(f"Property alg has invalid value: {algorithm}")
    key = version.material.key
    curve = curve_of(key.curve) if isinstance(key, ec.EllipticCurvePrivateKey) else None
    if chosen.curve != curve:
        mine, other = ("EC", "RSA' or 'RSA-HSM") if curve else ("RSA", "EC' or 'EC-HSM")
        raise bad_parameter(
            f"Key and signing algorithm are incompatible. Key {version.name} is of type '{mine}', and algorithm "
            f"'{algorithm}' can only be used with a key of type '{other}'."
        )
    try:
        digest = base64url.decode(value)
    except ValueError as error:
        raise bad_parameter("Property value is not base64url") from error
    if len(digest) != chosen.digest.digest_size:
        raise bad_parameter(
            f"Invalid length of 'value': {len(digest)} bytes. {algorithm} requires {chosen.digest.digest_size} bytes, "
            "encoded with base64url."
        )
    return base64url.encode(_signature(key, digest, chosen))


def _signature(key: PrivateKey, digest: bytes, algorithm: Algorithm) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, algorithm.padding, Prehashed(algorithm.digest))
    # JOSE has the two numbers side by side (RFC 7518 section 3.4).
    pair = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(algorithm.digest))))
    return b"".join(number.to_bytes(_octets(key), "big") for number in pair)


def _refuse_by_state(version: Version, now: float) -> None:
    # https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#date-time-controlled-operations
    if not version.enabled:
        raise not_allowed("sign", "disabled", "key", "KeyDisabled")
    if now < version.not_before:
        raise not_allowed("sign", "not yet valid", "key", "KeyNotYetValid")
    if now >= version.expires:
        raise not_allowed("sign", "expired", "key", "KeyExpired")
    if "sign" not in version.policy.operations():
        raise not_permitted("sign")


def _octets(key: ec.EllipticCurvePrivateKey) -> int:
    return (key.curve.key_size + 7) // 8


def _number(value: int, size: int | None = None) -> str:
    """Write a number as JOSE does; a coordinate has the size of its curve."""
    return base64url.encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))
