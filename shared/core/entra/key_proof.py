"""The request by which an application registers a key of its own at Microsoft Graph, and the proof that it holds.

https://learn.microsoft.com/graph/api/application-addkey
https://learn.microsoft.com/graph/application-rollkey-prooftoken
"""

import base64
import hashlib
import json

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm, base64url, signing_input

AUDIENCES = ("00000002-0000-0000-c000-000000000000", "00000003-0000-0000-c000-000000000000")
"""Azure AD Graph and Microsoft Graph. Microsoft's page has named either, and each has been refused."""
PROOF_ALGORITHM = Algorithm.RS256
"""The one that Microsoft's page shows."""
PROOF_LIFE = 600
"""Seconds; the longest that Graph permits."""


def add_key_address(graph: str, object_id: str) -> str:
    """Return where an application registers a key.

    Args:
        graph: the root of Graph; a slash at its end makes no difference.
        object_id: of the app registration; not its client ID.
    """
    return f"{graph.removesuffix('/')}/v1.0/applications/{object_id}/addKey"


def unsigned_proof(*, object_id: str, audience: str, certificate: Certificate, now: float) -> bytes:
    """Return the part of a proof that the key of a registered certificate must sign with `PROOF_ALGORITHM`.

    Args:
        object_id: of the app registration.
        audience: one of `AUDIENCES`.
        certificate: of the key that signs.
        now: seconds since the epoch, by Entra's clock.
    """
    sha1 = hashlib.sha1(certificate.chain[0], usedforsecurity=False)
    # `kid` in hexadecimal: so .NET writes it, in which Microsoft's sample is.
    header = {"alg": PROOF_ALGORITHM, "typ": "JWT", "x5t": base64url(sha1.digest()).decode()}
    header["kid"] = sha1.hexdigest().upper()
    begin = int(now)
    return signing_input(header, {"aud": audience, "iss": object_id, "nbf": begin, "exp": begin + PROOF_LIFE})


def add_key_body(certificate: Certificate, *, proof: str) -> bytes:
    """Return the body that registers a certificate.

    Args:
        certificate: to register; its public part alone is sent.
        proof: signed by the key of a certificate that is registered.
    """
    key = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "key": base64.b64encode(certificate.chain[0]).decode(),
    }
    return json.dumps({"keyCredential": key, "passwordCredential": None, "proof": proof}).encode()
