"""Client assertions: the short JWT by which a client with a certificate proves itself.

https://learn.microsoft.com/entra/identity-platform/certificate-credentials
"""

import base64
from collections.abc import Mapping
from datetime import timedelta

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm, signing_input

ASSERTION_LIFE = timedelta(minutes=10)
"""The longest life that Microsoft advises for a client assertion."""
ASSERTION_REUSE = timedelta(minutes=9)
"""How long one assertion is sent again: Entra accepts a repeated `jti`. One minute is left for network and clocks."""

_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def unsigned_assertion(
    *, client_id: str, audience: str, certificate: Certificate, send_x5c: bool = False, jti: str, now: float
) -> bytes:
    """Return the part of a client assertion that the certificate's key must sign with PS256.

    Args:
        client_id: the app registration; issuer and subject alike.
        audience: the token endpoint of the tenant.
        certificate: of the key that signs.
        send_x5c: whether the certificate and those above it go with the assertion (RFC 7515 section 4.1.6).
        jti: unique per assertion that is signed.
        now: seconds since the epoch, by the wall clock: Entra compares it with its own.
    """
    issued = int(now)
    header: dict[str, object] = {"alg": Algorithm.PS256, "typ": "JWT", "x5t#S256": certificate.thumbprint}
    if send_x5c:
        header["x5c"] = [base64.b64encode(der).decode() for der in certificate.chain]
    claims = {
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": jti,
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(ASSERTION_LIFE.total_seconds()),
    }
    return signing_input(header, claims)


def assertion_fields(assertion: str) -> Mapping[str, str]:
    """Return the form fields by which an assertion proves a client (RFC 7523 section 2.2)."""
    return {"client_assertion_type": _JWT_BEARER, "client_assertion": assertion}
