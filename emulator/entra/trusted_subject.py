"""Trust by subject name and issuer: a certificate that is sent with the assertion and is not registered itself.

Microsoft shows the entry of the manifest and its `revokedCertificateIdentifiers`:
https://learn.microsoft.com/fabric/data-engineering/azure-fabric-diagnostic-emitters-azure-event-hub
"""

import base64
import binascii
from collections.abc import Collection, Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import TrustedSubject
from emulator.entra.errors import aadsts


def of_trusted_subject(chain: Sequence[str], subjects: Collection[TrustedSubject]) -> RegisteredCertificate:
    """Return the certificate of a trusted subject, whose key verifies the assertion.

    Args:
        chain: the certificates of the header as base64, that of the signer first.
        subjects: of the application.

    Raises:
        Refusal: the subject is not trusted, another authority has issued its certificate, or it is revoked.
    """
    try:
        sent = [x509.load_der_x509_certificate(base64.b64decode(each, validate=True)) for each in chain]
        leaf = RegisteredCertificate(sent[0])
    except (binascii.Error, ValueError):
        raise aadsts(50012) from None
    name = sent[0].subject.rfc4514_string()
    trusted = [each for each in subjects if each.name == name and _is_issued(sent, by=each.authority)]
    if not trusted:
        raise aadsts(50012)
    if any(leaf.thumbprint in each.revoked for each in trusted):
        raise aadsts(7000214)
    return leaf


def _is_issued(sent: Sequence[x509.Certificate], *, by: x509.Certificate) -> bool:
    """Return whether each certificate has issued the one before it, and an authority the last."""
    above = sent if sent[-1] == by else [*sent, by]
    try:
        for each, issuer in pairwise(above):
            each.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
