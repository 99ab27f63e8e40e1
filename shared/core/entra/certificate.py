"""Certificates: the facts that matter, and which version of one to sign with."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.core.errors import OperatorError

ACTIVATION_DELAY = timedelta(hours=24)
"""How old a new version must be before it is preferred: the operator has that long to make it known to Entra."""
SMALLEST_RSA = 2_048


@dataclass(frozen=True, slots=True)
class CertificateVersion:
    """One version of a certificate in a vault.

    Args:
        version: its name in the vault.
        key_id: URL of the key that signs for it.
        thumbprint: SHA-256 of the certificate, base64url without padding, as in `x5t#S256`.
    """

    version: str
    key_id: str
    thumbprint: str
    not_after: datetime


def read_certificate(der: bytes, *, version: str, key_id: str) -> CertificateVersion:
    """Read the facts of a certificate from its DER form.

    Raises:
        OperatorError: it is no certificate, or its key is one that Entra does not take for PS256.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise OperatorError(cause="the vault's certificate cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_RSA:
        raise OperatorError(cause=f"the certificate needs an RSA key of at least {SMALLEST_RSA} bits")
    return CertificateVersion(
        version=version,
        key_id=key_id,
        thumbprint=base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode(),
        not_after=certificate.not_valid_after_utc,
    )


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """What a listing tells of a version, before its certificate is read."""

    version: str
    enabled: bool
    created: datetime
    not_before: datetime | None
    not_after: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Return whether the version may sign now."""
        begun = self.not_before is None or self.not_before <= now
        over = self.not_after is not None and now >= self.not_after
        return self.enabled and begun and not over


def preferred(
    versions: Iterable[VersionSummary], now: datetime, *, delay: timedelta = ACTIVATION_DELAY
) -> VersionSummary:
    """Return the version to sign with: the newest that is old enough for Entra to know it.

    Where all are young, it is the oldest of them, which is the likeliest to be known; a first certificate is used
    at once.

    Raises:
        OperatorError: none is enabled and within its dates.
    """
    usable = sorted((version for version in versions if version.is_usable(now)), key=lambda version: version.created)
    if not usable:
        raise OperatorError(cause="no version of the certificate is enabled and within its dates")
    aged = [version for version in usable if version.created <= now - delay]
    return aged[-1] if aged else usable[0]
