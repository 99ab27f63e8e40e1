"""Certificates: the facts of one, and of its versions in a vault."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.core.errors import OperatorError

SMALLEST_RSA = 2_048
_RSA_REMEDY = "make a new version of the certificate with an RSA key of 2048 bits or more: docs/credentials.md"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of a certificate that an assertion needs.

    Args:
        thumbprint: SHA-256 of the certificate, base64url without padding, as in `x5t#S256`.
        not_before: its beginning.
        not_after: its end.
        chain: the certificate and those above it, as far as they are known, in DER form.
    """

    thumbprint: str
    not_before: datetime
    not_after: datetime
    chain: tuple[bytes, ...] = field(repr=False)

    def is_usable(self, now: datetime) -> bool:
        """Return whether a moment is within the dates of the certificate."""
        return self.not_before <= now < self.not_after


def read_certificate(der: bytes, *, name: str, above: Sequence[bytes] = ()) -> Certificate:
    """Read a certificate from its DER form.

    Args:
        der: of the certificate.
        name: of the certificate, for errors.
        above: DER forms of the certificates above it.

    Raises:
        OperatorError: it is no certificate, or its key is one that Entra does not take for PS256.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, UnsupportedAlgorithm):
        raise OperatorError(cause="the certificate cannot be read").about(name) from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_RSA:
        cause = f"the certificate needs an RSA key of at least {SMALLEST_RSA} bits"
        raise OperatorError(cause=cause, remedy=_RSA_REMEDY).about(name)
    return Certificate(
        thumbprint=base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode(),
        not_before=not_before,
        not_after=not_after,
        chain=(der, *above),
    )


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One version of a certificate or a secret, as a vault lists it."""

    version: str
    enabled: bool
    created: datetime
    not_before: datetime | None
    not_after: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Return whether the version may prove the client now."""
        begun = self.not_before is None or self.not_before <= now
        over = self.not_after is not None and now >= self.not_after
        return self.enabled and begun and not over
