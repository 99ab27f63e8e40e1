import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from shared.core.entra.certificate import VersionSummary, preferred, read_certificate
from shared.core.errors import OperatorError

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def version(
    name: str, *, age: timedelta, enabled: bool = True, begins: datetime | None = None, ends: datetime | None = None
) -> VersionSummary:
    """Make a version that was created so long ago."""
    return VersionSummary(version=name, enabled=enabled, created=NOW - age, not_before=begins, not_after=ends)


OLD = version("old", age=100 * HOUR)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([OLD, version("new", age=24 * HOUR)], "new"),
        ([version("new", age=24 * HOUR), OLD], "new"),
        ([OLD, version("young", age=23 * HOUR)], "old"),
        ([OLD, version("disabled", age=48 * HOUR, enabled=False)], "old"),
        ([OLD, version("not yet", age=48 * HOUR, begins=NOW + HOUR)], "old"),
        ([OLD, version("begins now", age=48 * HOUR, begins=NOW)], "begins now"),
        ([OLD, version("over", age=48 * HOUR, ends=NOW)], "old"),
        ([OLD, version("nearly over", age=48 * HOUR, ends=NOW + HOUR)], "nearly over"),
        ([version("only", age=timedelta(0))], "only"),
        ([version("younger", age=HOUR), version("elder", age=2 * HOUR)], "elder"),
        ([version("over", age=90 * HOUR, ends=NOW), version("young", age=HOUR)], "young"),
        ([version("disabled", age=48 * HOUR, enabled=False)], None),
        ([], None),
    ],
    ids=lambda value: value or "none" if not isinstance(value, list) else "+".join(one.version for one in value),
)
def test_the_newest_version_that_entra_can_know_signs(versions: list[VersionSummary], expected: str | None) -> None:
    """REL-28, REL-29: aged 24 hours, enabled and within its dates; a young one only where there is no other."""
    if expected is None:
        with pytest.raises(OperatorError):
            preferred(versions, NOW)
        return
    assert preferred(versions, NOW).version == expected


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Make a certificate of this key, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vend")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.not_valid_before(NOW).not_valid_after(NOW + 24 * HOUR)
    return dated.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())


def der(made: x509.Certificate) -> bytes:
    """Give a certificate as the vault does."""
    return made.public_bytes(serialization.Encoding.DER)


def test_the_facts_of_a_certificate_are_read() -> None:
    """The thumbprint is what `x5t#S256` takes (RFC 7515 section 4.1.8): 43 characters of unpadded base64url."""
    made = certificate(rsa.generate_private_key(65_537, 2_048))
    facts = read_certificate(der(made), version="v1", key_id="https://vault.example/keys/vend/v1")
    assert (facts.version, facts.key_id) == ("v1", "https://vault.example/keys/vend/v1")
    assert facts.not_after == NOW + 24 * HOUR
    assert len(facts.thumbprint) == 43
    assert base64.urlsafe_b64decode(facts.thumbprint + "=") == made.fingerprint(hashes.SHA256())


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
        lambda: b"",
        lambda: b"-----BEGIN CERTIFICATE-----",
        lambda: elliptic()[:-1],
    ],
    ids=["EC", "RSA 1024", "unknown algorithm", "empty", "PEM", "cut"],
)
def test_a_certificate_that_cannot_sign_is_refused(make: Callable[[], bytes]) -> None:
    """REL-26: what Entra does not take for PS256, and what is no certificate, is the operator's to mend."""
    with pytest.raises(OperatorError):
        read_certificate(make(), version="v1", key_id="")
