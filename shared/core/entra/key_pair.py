"""A certificate with its private key, read from what a file or a vault holds: PEM or PFX (PKCS#12)."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.serialization import pkcs12

from shared.core.entra.certificate import Certificate, read_certificate
from shared.core.entra.jws import Algorithm
from shared.core.errors import OperatorError

_PEM = b"-----BEGIN "
_PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z ]{0,10}PRIVATE KEY)-----")
LARGEST = 64 * 1024
"""Bytes of a file or secret that are parsed: a key with a long chain has about ten KiB, a secret 25 KB at most."""
_PADDINGS: Mapping[Algorithm, AsymmetricPadding] = MappingProxyType(
    {
        Algorithm.PS256: padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH),
        Algorithm.RS256: padding.PKCS1v15(),
    }
)
_REMEDY = "see which files and keys vend takes: docs/credentials.md"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key; it cannot print or pickle the key."""

    certificate: Certificate
    key: rsa.RSAPrivateKey = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not written anywhere")

    def sign(self, content: bytes, algorithm: Algorithm = Algorithm.PS256) -> bytes:
        """Return a signature (RFC 7518 sections 3.3 and 3.5)."""
        return self.key.sign(content, _PADDINGS[algorithm], hashes.SHA256())


def from_vault(value: str) -> bytes:
    """Return the bytes of the secret of an exportable certificate: PEM as it is, or PFX in base64.

    The content decides, and not the content type that the vault names: either has been seen under the other.
    """
    if "-----BEGIN " in value:
        return value.encode()
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""  # it is refused like any other content that is neither


def read_key_pair(content: bytes, *, name: str, password: str = "") -> KeyPair:
    """Read a certificate with its private key; other certificates may stand beside it, in any order.

    It takes up to half a second, for the key is validated.

    Args:
        content: PEM or PFX.
        name: of the certificate or file, for errors.
        password: of the key; "" for none.

    Raises:
        OperatorError: it cannot be read, lacks the key, or has a key that Entra does not take for PS256.
    """
    if len(content) > LARGEST:
        raise _refused(name, f"is larger than {LARGEST // 1024} KiB")
    try:
        key, certificates = (_pem if _PEM in content else _pfx)(content, password.encode() or None)
        owners = [(each, each.public_key()) for each in certificates]
        public_key = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else None
        leaf = next((each for each, public in owners if public == public_key), None)
        above = [_der(each) for each in _above(leaf, [each for each, _ in owners])] if leaf else []
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The libraries do not tell a wrong password from bytes that are no PFX.
        raise _refused(name, "is no PEM or PFX file, or its password is another one") from None
    if key is None:
        raise _refused(name, "holds no private key; in Key Vault the certificate must be exportable")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _refused(name, "its key is no RSA key")
    if leaf is None:
        raise _refused(name, "holds no certificate that belongs to its private key")
    return KeyPair(read_certificate(_der(leaf), name=name, above=above), key)


def _pem(content: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    certificates = x509.load_pem_x509_certificates(content) if _PEM_CERTIFICATE in content else []
    found = _PRIVATE_KEY.search(content)
    end = b"-----END %b-----" % found[1] if found else b""
    # Two searches, each in one direction: a pattern for both would search to the end of the file from each beginning.
    if found is None or (ends := content.find(end, found.end())) < 0:
        return None, certificates
    block = content[found.start() : ends + len(end)]
    return serialization.load_pem_private_key(block, password if b"ENCRYPTED" in block else None), certificates


def _pfx(content: bytes, password: bytes | None) -> tuple[object, Iterable[x509.Certificate]]:
    key, leaf, others = pkcs12.load_key_and_certificates(content, password)
    return key, [*([leaf] if leaf else []), *others]


def _above(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> Iterator[x509.Certificate]:
    """Return the certificates above one, each the issuer of the one before it (RFC 7515 section 4.1.6)."""
    left, last = {each.subject: each for each in others if each != leaf}, leaf
    while last.issuer != last.subject and last.issuer in left:
        last = left.pop(last.issuer)
        yield last


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _refused(name: str, why: str) -> OperatorError:
    return OperatorError(cause=why, remedy=_REMEDY).about(name)
