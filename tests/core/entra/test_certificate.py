import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from shared.core.entra.certificate import Certificate, VersionSummary, read_certificate
from shared.core.errors import OperatorError

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, begins: datetime = NOW) -> x509.Certificate:
    """Make a certificate of this key, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vend")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.not_valid_before(begins).not_valid_after(begins + 24 * HOUR)
    return dated.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())


def der(made: x509.Certificate) -> bytes:
    """Give a certificate as the vault does."""
    return made.public_bytes(serialization.Encoding.DER)


def test_the_facts_of_a_certificate_are_read() -> None:
    """The thumbprint is what `x5t#S256` takes (RFC 7515 section 4.1.8): 43 characters of unpadded base64url."""
    made = certificate(rsa.generate_private_key(65_537, 2_048))
    facts = read_certificate(der(made), name="vend/v1")
    assert (facts.not_after, facts.chain) == (NOW + 24 * HOUR, (der(made),))
    assert len(facts.thumbprint) == 43
    assert base64.urlsafe_b64decode(facts.thumbprint + "=") == made.fingerprint(hashes.SHA256())


def without_a_year() -> bytes:
    """Make a certificate that begins in the year 0, which no calendar of Python has."""
    made = der(certificate(rsa.generate_private_key(65_537, 2_048), begins=datetime(2060, 1, 1, tzinfo=UTC)))
    assert made.count(b"20600101000000Z") == 1
    return made.replace(b"20600101000000Z", b"00000101000000Z")


def elliptic() -> bytes:
    """Make a certificate with an elliptic-curve key."""
    return der(certificate(ec.generate_private_key(ec.SECP256R1())))


def short_rsa() -> bytes:
    """Make a certificate whose key is too short for Entra."""
    return der(certificate(rsa.generate_private_key(65_537, 1_024)))  # noqa: S505  # it is to be refused


def unknown_algorithm() -> bytes:
    """Make a certificate whose key is of a kind that nobody knows."""
    rsa_encryption = bytes.fromhex("06092a864886f70d010101")
    made = der(certificate(rsa.generate_private_key(65_537, 2_048)))
    assert made.count(rsa_encryption) == 1
    return made.replace(rsa_encryption, bytes.fromhex("06092a864886f70d01017f"))


@pytest.mark.parametrize(
    "make",
    [
        elliptic,
        short_rsa,
        unknown_algorithm,
        without_a_year,
        lambda: b"",
        lambda: b"-----BEGIN CERTIFICATE-----",
        lambda: elliptic()[:-1],
    ],
    ids=["EC", "RSA 1024", "unknown algorithm", "the year 0", "empty", "PEM", "cut"],
)
def test_a_certificate_that_cannot_sign_is_refused(make: Callable[[], bytes]) -> None:
    """REL-26: what Entra does not take for PS256, and what is no certificate, is the operator's to mend."""
    with pytest.raises(OperatorError, match="vend/v1"):
        read_certificate(make(), name="vend/v1")


@pytest.mark.parametrize(
    ("enabled", "begins", "ends", "usable"),
    [
        (True, None, None, True),
        (False, None, None, False),
        (True, 0, 1, True),
        (True, 1, 2, False),
        (True, -2, 0, False),
        (True, -2, 1, True),
        (False, -2, 1, False),
    ],
)
def test_a_version_is_usable_within_its_dates(
    enabled: bool,  # noqa: FBT001  # a column
    begins: int | None,
    ends: int | None,
    usable: bool,  # noqa: FBT001  # a column
) -> None:
    """REL-29: enabled, begun and not over, both dates in hours from now; the certificate itself says the same."""
    begin, end = (None if hours is None else NOW + hours * HOUR for hours in (begins, ends))
    version = VersionSummary(version="v", enabled=enabled, created=NOW, not_before=begin, not_after=end)
    assert version.is_usable(NOW) is usable
    if enabled and begin and end:
        assert Certificate("thumbprint", begin, end, chain=()).is_usable(NOW) is usable
