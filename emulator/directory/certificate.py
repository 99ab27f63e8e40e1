"""A certificate as an app registration holds it: the public half, found again by its thumbprints."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from emulator import base64url

PADDING = {
    "PS256": padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH),
    "RS256": padding.PKCS1v15(),
}
"""The signature algorithms (RFC 7518 section 3.1) that a registered certificate verifies."""


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
    def thumbprint(self) -> str:
        """The SHA-1 thumbprint in hexadecimal, as Windows and .NET write it."""
        return hashlib.sha1(self._der, usedforsecurity=False).hexdigest().upper()

    @property
    def x5c(self) -> str:
        """The certificate as it stands first in the chain of RFC 7515 section 4.1.6: plain base64, padded."""
        return base64.b64encode(self._der).decode()

    def valid_at(self, moment: float) -> bool:
        """Whether a moment (epoch seconds) lies within the certificate's dates."""
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return start.timestamp() <= moment <= end.timestamp()

    def verifies(self, signature: bytes, signed: bytes, *, algorithm: str) -> bool:
        """Return whether the certificate's key made a signature by one of the algorithms of `PADDING`."""
        try:
            self.public_key.verify(signature, signed, PADDING[algorithm], hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    @property
    def _der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)
