"""The proof of possession of `addKey` and `removeKey`: a JWT signed by a registered certificate of the application.

Source: https://learn.microsoft.com/graph/application-rollkey-prooftoken. Every mistake has one answer, as at Graph.
"""

from collections.abc import Collection, Mapping

import jwt

from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import Application
from emulator.graph.errors import bad_proof

AZURE_AD_GRAPH = "00000002-0000-0000-c000-000000000000"
MICROSOFT_GRAPH = "00000003-0000-0000-c000-000000000000"
AUDIENCES = frozenset({AZURE_AD_GRAPH, MICROSOFT_GRAPH})
DOCUMENTED_ALGORITHMS = frozenset({"RS256"})
SKEW = 300  # seconds
LONGEST_LIFE = 600  # seconds


def check(
    proof: str, application: Application, *, audiences: Collection[str], algorithms: Collection[str], now: float
) -> None:
    """Raise unless a proof is good.

    Args:
        proof: the compact JWS.
        application: that it proves.
        audiences: that are accepted.
        algorithms: that are accepted.
        now: in epoch seconds.

    Raises:
        Refusal: 401, it is not.
    """
    if "=" in proof:  # padding, which RFC 7515 section 2 forbids and most libraries forgive
        raise bad_proof()
    try:
        parts = jwt.decode_complete(proof, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise bad_proof() from None
    header, claims = parts["header"], parts["payload"]
    algorithm, audience = header.get("alg"), claims.get("aud")
    if not isinstance(algorithm, str) or algorithm not in algorithms or header.get("typ") != "JWT":
        raise bad_proof()
    if claims.get("iss") != application.object_id or not isinstance(audience, str) or audience not in audiences:
        raise bad_proof()
    if not _is_current(claims, now):
        raise bad_proof()
    signer = _signer(header, application.certificates_at(now))
    if not signer.valid_at(now):
        raise bad_proof()
    signed = proof.rpartition(".")[0].encode()
    if not signer.verifies(parts["signature"], signed, algorithm=algorithm):
        raise bad_proof()


def _is_current(claims: Mapping[str, object], now: float) -> bool:
    match claims:
        case {"nbf": int(start), "exp": int(end)} if end - start <= LONGEST_LIFE:
            return start - SKEW <= now < end + SKEW
    return False


def _signer(header: Mapping[str, object], certificates: Collection[RegisteredCertificate]) -> RegisteredCertificate:
    """Return the certificate that `x5t` names; `kid` must name it too, in hexadecimal as .NET writes it or as `x5t`."""
    for certificate in certificates:
        kids = {certificate.thumbprint.upper(), certificate.x5t}
        if header.get("x5t") == certificate.x5t and str(header.get("kid")) in kids:
            return certificate
    raise bad_proof()
