"""The public keys of an issuer, and the signatures that they verify (RFC 7517, RFC 7518 section 3).

What the set says of a key decides what the key is for: a token's header chooses among the keys that fit, and never
brings one.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from shared.core.encoding import from_base64url
from shared.core.errors import BadAnswer, UnreadableAnswer
from shared.core.reply import json_object

KEYS = 64
"""The most keys of a set; Entra has fewer than ten."""
RSA_BITS = range(2048, 4096 + 1)
"""RFC 7518 section 3.3 asks for the least; with more than the most, one signature would take a millisecond."""
EXPONENT_BITS = 32
"""Keys in use have 65537. A long one would make a signature cost 35 ms."""
_COORDINATE = 32
"""Bytes of a coordinate of P-256, and of each half of its signatures (RFC 7518 section 3.4)."""
_SHA256 = hashes.SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=padding.PSS.DIGEST_LENGTH)


class TokenAlgorithm(StrEnum):
    """How an issuer may sign its tokens; each has one kind of key."""

    RS256 = "RS256"
    PS256 = "PS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One public key.

    Args:
        id: by which a token names it; None where the set gives it none.
        algorithm: the only one that it is for; None where the set does not say.
        public: the key.
    """

    id: str | None
    algorithm: TokenAlgorithm | None
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = field(repr=False)

    def fits(self, algorithm: TokenAlgorithm) -> bool:
        """Return whether the key is for an algorithm."""
        is_elliptic = isinstance(self.public, ec.EllipticCurvePublicKey)
        return self.algorithm in (None, algorithm) and is_elliptic is (algorithm is TokenAlgorithm.ES256)

    def verifies(self, signed: bytes, signature: bytes, algorithm: TokenAlgorithm) -> bool:
        """Return whether a signature is one of this key; the key fits the algorithm."""
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, signed, _PSS if algorithm is TokenAlgorithm.PS256 else _PKCS1, _SHA256)
            else:
                self.public.verify(_der(signature), signed, _ECDSA)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of an issuer at one time; two with one digest are the same."""

    keys: tuple[VerificationKey, ...]
    digest: str

    def find(self, key_id: str | None, algorithm: TokenAlgorithm) -> VerificationKey | None:
        """Return the one key that a token may be signed with.

        Args:
            key_id: as the token has it; without one the set must have a single key for the algorithm.
            algorithm: of the token.
        """
        found = [key for key in self.keys if key.id == key_id and key.fits(algorithm)]
        if not found:
            found = [key for key in self.keys if (key_id is None or key.id is None) and key.fits(algorithm)]
        return found[0] if len(found) == 1 else None


def read_key_set(body: bytes, *, of: str) -> KeySet:
    """Read the keys that an issuer publishes; those that are for something else are passed over.

    Args:
        body: a JWK set.
        of: what errors call the issuer.

    Raises:
        UnreadableAnswer: it is no JWK set.
        BadAnswer: it has too many keys, or none that can verify a token.
    """
    document = json_object(body)
    listed = document.get("keys") if document else None
    if not isinstance(listed, list):
        raise UnreadableAnswer(cause=f"{of}: the answer is no set of keys")
    if len(listed) > KEYS:
        raise BadAnswer(cause=f"{of}: more than {KEYS} keys")
    keys = _usable(item for item in listed if isinstance(item, dict))
    if not keys:
        raise BadAnswer(cause=f"{of}: no key that can verify a token")
    return KeySet(keys, hashlib.sha256(body).hexdigest())


def _usable(items: Iterable[Mapping[str, Any]]) -> tuple[VerificationKey, ...]:
    found = []
    for item in items:
        try:
            found.append(read_key(item))
        except ValueError:
            continue
    return tuple(found)


def read_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """Read one key.

    Raises:
        ValueError: it is for something else, is too small or too large, or cannot be read; without any of its text.
    """
    key_id, algorithm = jwk.get("kid"), jwk.get("alg")
    if jwk.get("use", "sig") != "sig" or not isinstance(key_id, str | None):
        raise ValueError("is not for signatures")
    try:
        public = _public_key(jwk)
        return VerificationKey(key_id, None if algorithm is None else TokenAlgorithm(algorithm), public)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError("is no RSA key of 2048 to 4096 bits and no key on P-256") from None


def _public_key(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
        x, y = (from_base64url(jwk[name]) for name in ("x", "y"))
        if len(x) != _COORDINATE or len(y) != _COORDINATE:
            raise ValueError("coordinates")
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1())
        return numbers.public_key()
    if jwk["kty"] != "RSA":
        raise ValueError("kty")
    modulus, exponent = (int.from_bytes(from_base64url(jwk[name])) for name in ("n", "e"))
    if modulus.bit_length() not in RSA_BITS or exponent.bit_length() > EXPONENT_BITS:
        raise ValueError("bits")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _der(signature: bytes) -> bytes:
    """Return a signature of JWS in the form that the library takes: two numbers in DER."""
    if len(signature) != 2 * _COORDINATE:
        raise ValueError("length")
    first, second = signature[:_COORDINATE], signature[_COORDINATE:]
    return encode_dss_signature(int.from_bytes(first), int.from_bytes(second))
