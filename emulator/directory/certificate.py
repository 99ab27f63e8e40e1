"""A certificate as an app registration holds it: the public half, found again by its thumbprints."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from emulator import base64url


@dataclass(frozen=True)
class RegisteredCertificate:
    """A public certificate whose key can verify a client assertion.

    Raises:
        ValueError: its key is not RSA.
    """

    certificate: x509.Certificate

    def __post_init__(self) -> None:
        if not isinstance(self.certificate.public_key(), rsa.RSAPublicKey):
            raise ValueError("Entra verifies client assertions with RSA keys alone")  # noqa: TRY004 - the file is wrong

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The key that verifies."""
        key = self.certificate.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        return key

    @property
    def x5t_s256(self) -> str:
        """The thumbprint of RFC 7515 section 4.1.8."""
        return base64url.encode(hashlib.sha256(self._der).digest())

    @property
    def x5t(self) -> str:
        """The thumbprint of RFC 7515 section 4.1.7, still the one that RS256 assertions carry."""
        return base64url.encode(hashlib.sha1(self._der, usedforsecurity=False).digest())

    @property
    def x5c(self) -> str:
        """The certificate as it stands first in the chain of RFC 7515 section 4.1.6: plain base64, padded."""
        return base64.b64encode(self._der).decode()

    def valid_at(self, moment: float) -> bool:
        """Whether a moment (epoch seconds) lies within the certificate's dates."""
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return start.timestamp() <= moment <= end.timestamp()

    @property
    def _der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)
