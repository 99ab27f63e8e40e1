"""Keys and certificates of a small authority, and the files that hold them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(Encoding.DER)


def rsa_key(bits: int = 2_048) -> rsa.RSAPrivateKey:
    """Make an RSA key."""
    return rsa.generate_private_key(65_537, bits)


def signed(
    name: str, *, starts: dt.datetime, ends: dt.datetime, key: PrivateKey | None = None, by: Signed | None = None
) -> Signed:
    """Make a certificate, with a key unless one is given; it signs itself unless an authority does."""
    key = key or rsa_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(by.certificate.subject if by else subject)
    dated = builder.not_valid_before(starts).not_valid_after(ends).serial_number(x509.random_serial_number())
    return Signed(dated.sign(by.key if by else key, hashes.SHA256()), key)


def chain(*, starts: dt.datetime, ends: dt.datetime) -> tuple[Signed, Signed, Signed]:
    """Make a certificate, the authority that issues it, and the root above that."""
    root = signed("root", starts=starts, ends=ends)
    issuing = signed("issuing", starts=starts, ends=ends, by=root)
    return signed("vend", starts=starts, ends=ends, by=issuing), issuing, root


def pem(*held: PrivateKey | x509.Certificate, password: str = "") -> bytes:
    """Write keys and certificates as PEM, in this order."""
    return b"".join(
        each.public_bytes(Encoding.PEM)
        if isinstance(each, x509.Certificate)
        else each.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _lock(password))
        for each in held
    )


def pfx(
    key: PrivateKey | None,
    leaf: x509.Certificate | None,
    others: Sequence[x509.Certificate] = (),
    *,
    password: str = "",
) -> bytes:
    """Write a key and certificates as PFX (PKCS#12)."""
    return pkcs12.serialize_key_and_certificates(None, key, leaf, others, _lock(password))


def _lock(password: str) -> KeySerializationEncryption:
    return BestAvailableEncryption(password.encode()) if password else NoEncryption()
