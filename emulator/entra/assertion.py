"""The client assertion of a client with a certificate: its validity, and the certificate that signed it.

Source: https://learn.microsoft.com/entra/identity-platform/certificate-credentials and RFC 7523 section 3. As at
Entra, the same assertion may be sent again until it expires.
"""

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jwt

from emulator.directory.certificate import PADDING, RegisteredCertificate
from emulator.directory.objects import TrustedSubject
from emulator.entra.errors import aadsts
from emulator.entra.trusted_subject import of_trusted_subject

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SKEW = 300  # seconds
# Entra sets no limit today and recommends five to ten minutes. More than a day is a mistake of the client, mostly
# milliseconds for seconds, so it is refused here.
MAX_LIFETIME = 86400  # seconds
SYMMETRIC = {"HS256", "HS384", "HS512"}  # known to Entra, and made by no key of a certificate or an issuer


@dataclass(frozen=True)
class Proof:
    """The record of an accepted assertion, without the assertion.

    A certificate's has its SHA-256 thumbprint, another issuer's token has its issuer and subject.
    """

    jti: str
    algorithm: str
    thumbprint: str = ""
    issuer: str = ""
    subject: str = ""


def verify(
    assertion: str,
    *,
    client_id: str,
    audiences: Collection[str],
    certificates: Collection[RegisteredCertificate],
    subjects: Collection[TrustedSubject],
    now: float,
) -> Proof:
    """Verify an assertion against the certificates and the subjects that are registered for its client.

    Raises:
        Refusal: with the number of the first check it fails.
    """
    header, claims, signature = parse(assertion)
    algorithm = supported(header)
    if str(claims.get("iss")).lower() != client_id:
        raise aadsts(700021)
    if claims.get("sub") != claims.get("iss"):
        raise aadsts(50048)
    check_time(claims, now)
    audience = claims.get("aud")
    if not isinstance(audience, str):  # Entra refuses the list that RFC 7519 section 4.1.3 would allow
        raise aadsts(50027)
    if audience not in audiences:
        raise aadsts(700023)
    certificate = _signer(header, certificates, subjects)
    if not certificate.valid_at(now):
        raise aadsts(1000502)
    signed = assertion.rpartition(".")[0].encode()
    if not certificate.verifies(signature, signed, algorithm=algorithm):
        raise aadsts(700027, reason="The key was found, but the signature is invalid.")
    return Proof(jti=str(claims.get("jti", "")), algorithm=algorithm, thumbprint=certificate.x5t_s256)


def parse(assertion: str) -> tuple[dict[str, object], dict[str, object], bytes]:
    """Return header, payload and signature of a compact JWS, unverified.

    Raises:
        Refusal: it is malformed.
    """
    try:
        parts = jwt.decode_complete(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise aadsts(50027) from None
    return parts["header"], parts["payload"], parts["signature"]


def supported(header: Mapping[str, object]) -> str:
    """Return the algorithm of a signature.

    Raises:
        Refusal: no key that Entra verifies client assertions with makes such a signature.
    """
    algorithm = header.get("alg")
    if algorithm in SYMMETRIC:
        raise aadsts(5002730)
    if not isinstance(algorithm, str) or algorithm not in PADDING:
        raise aadsts(5002738, algorithm=str(algorithm), supported=", ".join(PADDING))
    return algorithm


def check_time(claims: Mapping[str, object], now: float) -> None:
    """Raise unless an assertion is valid now, by its `nbf` and `exp` and the tolerance of Entra.

    Raises:
        Refusal: it is not, or its dates are no NumericDate (RFC 7519 section 2).
    """
    expires = _seconds(claims.get("exp"))
    not_before = _seconds(claims.get("nbf", 0))  # for Entra an absent nbf is 1970
    if not_before - SKEW <= now < expires + SKEW and expires <= now + MAX_LIFETIME + SKEW:
        return
    raise aadsts(700024, now=_moment(now), not_before=_moment(not_before), expires=_moment(expires))


def _seconds(value: object) -> float:
    """Read a NumericDate, which MSAL.NET writes as a string."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise aadsts(50027)


def _moment(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return "out of range"


def _signer(
    header: dict[str, object], certificates: Collection[RegisteredCertificate], subjects: Collection[TrustedSubject]
) -> RegisteredCertificate:
    """Return the certificate that every identifier in the header names: a registered one, or that of a subject."""
    chain = _chain(header.get("x5c"))
    # MSAL Python pads the thumbprints.
    named: dict[str, str] = {name: str(header[name]).rstrip("=") for name in ("x5t#S256", "x5t") if name in header}
    named |= {"x5c": chain[0]} if chain else {}
    if not named:
        raise aadsts(700027, reason="The assertion names no certificate.")

    def is_named(certificate: RegisteredCertificate) -> bool:
        own = {"x5t#S256": certificate.x5t_s256, "x5t": certificate.x5t, "x5c": certificate.x5c}
        return all(own[parameter] == value for parameter, value in named.items())

    if registered := next(filter(is_named, certificates), None):
        return registered
    if chain and subjects and is_named(leaf := of_trusted_subject(chain, subjects)):
        return leaf
    raise aadsts(700027, reason="The key was not found.")


def _chain(x5c: object) -> list[str]:
    """Return the certificates of a header, the signer's first; MSAL Python keeps the line breaks of the PEM."""
    match x5c:
        case str(leaf):
            return ["".join(leaf.split())]
        case [str(), *_]:
            return ["".join(str(each).split()) for each in x5c]
    return []
