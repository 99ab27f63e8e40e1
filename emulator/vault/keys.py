"""The key of a certificate: its public half as a JWK, and signatures over digests."""

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from emulator import base64url
from emulator.vault.errors import bad_parameter, not_allowed, not_permitted
from emulator.vault.store import Version


@dataclass(frozen=True)
class Algorithm:
    """A signature algorithm of RFC 7518 section 3.1 for RSA keys."""

    digest: hashes.HashAlgorithm
    pss: bool

    @property
    def padding(self) -> padding.AsymmetricPadding:
        """The padding; the salt of PSS is as long as the digest (RFC 7518 section 3.5)."""
        if not self.pss:
            return padding.PKCS1v15()
        return padding.PSS(mgf=padding.MGF1(self.digest), salt_length=padding.PSS.DIGEST_LENGTH)


ALGORITHMS = {
    "PS256": Algorithm(hashes.SHA256(), pss=True),
    "PS384": Algorithm(hashes.SHA384(), pss=True),
    "PS512": Algorithm(hashes.SHA512(), pss=True),
    "RS256": Algorithm(hashes.SHA256(), pss=False),
    "RS384": Algorithm(hashes.SHA384(), pss=False),
    "RS512": Algorithm(hashes.SHA512(), pss=False),
}
FOR_OTHER_KEYS = {"ES256", "ES256K", "ES384", "ES512"}


def jwk(version: Version, kid: str) -> dict[str, object]:
    """Return the public key (RFC 7518 section 6.3.1)."""
    numbers = version.material.key.public_key().public_numbers()
    return {
        "kid": kid,
        "kty": "RSA",
        "key_ops": list(version.policy.operations()),
        "n": _number(numbers.n),
        "e": _number(numbers.e),
    }


def sign(version: Version, *, algorithm: str, value: str, now: float) -> str:
    """Sign a digest (base64url) and return the signature as base64url.

    Raises:
        Refusal: 403, the version is disabled, its key may not sign, or `now` is outside its validity; 400, the
            algorithm does not fit the key or the digest does not fit the algorithm.
    """
    _refuse_by_state(version, now)
    if algorithm in FOR_OTHER_KEYS:
        raise bad_parameter(
            f"Key and signing algorithm are incompatible. Key {version.name} is of type 'RSA', and algorithm "
            f"'{algorithm}' can only be used with a key of type 'EC' or 'EC-HSM'."
        )
    chosen = ALGORITHMS.get(algorithm)
    if chosen is None:
        raise bad_parameter(f"Property alg has invalid value: {algorithm}")
    try:
        digest = base64url.decode(value)
    except ValueError as error:
        raise bad_parameter("Property value is not base64url") from error
    if len(digest) != chosen.digest.digest_size:
        raise bad_parameter(
            f"Invalid length of 'value': {len(digest)} bytes. {algorithm} requires {chosen.digest.digest_size} bytes, "
            "encoded with base64url."
        )
    return base64url.encode(version.material.key.sign(digest, chosen.padding, Prehashed(chosen.digest)))


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


def _number(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
