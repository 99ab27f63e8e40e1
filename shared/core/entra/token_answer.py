"""The answer that holds a token: read, and compared with what was asked for.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from shared.core.errors import BadAnswer, TokenMismatch, TokenUnidentified, UnreadableAnswer
from shared.core.reply import json_object
from shared.core.token import AccessToken, Moment, TokenFacts, refresh_after

LONGEST_LIFE = 172_800
"""Seconds; no Entra token lives longer than two days."""

_UTI = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def read_token(
    body: bytes, *, asked: Moment, fraction: float, tenant_id: str, client_id: str, clock_ahead: float = 0.0
) -> AccessToken:
    """Read a 200 answer of the token endpoint.

    Args:
        body: as it came.
        asked: when the request left.
        fraction: for `refresh_after`.
        tenant_id, client_id: for whom the token must be.
        clock_ahead: seconds that our wall clock is ahead of Entra's.

    Raises:
        UnreadableAnswer: it is no JSON object.
        BadAnswer: it is not a token of a sensible life.
        TokenMismatch: the token is no Bearer token, or not for this tenant and client.
    """
    answer = json_object(body)
    if answer is None:
        raise UnreadableAnswer(cause="Entra: the answer is not a JSON object")
    secret = answer.get("access_token")
    if not isinstance(secret, str) or not secret or not secret.isascii() or not secret.isprintable():
        raise BadAnswer(cause="Entra: no access_token in the answer")
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenMismatch(cause="Entra: token_type is not Bearer")
    lifetime = _seconds(answer.get("expires_in"))
    if lifetime is None or not 1 <= lifetime <= LONGEST_LIFE:
        raise BadAnswer(cause="Entra: expires_in is missing or absurd")
    refresh_in = _seconds(answer.get("refresh_in"))
    if refresh_in is not None and not 0 < refresh_in < lifetime:
        refresh_in = None
    claims = _claims(secret)
    _check_claims(claims, tenant_id=tenant_id, client_id=client_id)
    audience, scope, uti = claims.get("aud"), answer.get("scope"), claims.get("uti")
    return AccessToken(
        secret=secret,
        asked=asked,
        lifetime=lifetime,
        refresh_after=refresh_after(lifetime, refresh_in, fraction=fraction),
        clock_ahead=clock_ahead,
        facts=TokenFacts(
            audience=audience if isinstance(audience, str) else None,
            has_roles=bool(claims.get("roles")) if claims else None,
            scope=scope if isinstance(scope, str) else None,
            uti=uti if isinstance(uti, str) and _UTI.match(uti) else None,
        ),
    )


def _check_claims(claims: Mapping[str, Any], *, tenant_id: str, client_id: str) -> None:
    """Compare what a token says of itself with what was asked for: Entra's always name their tenant and client.

    The audience is not compared: v2.0 tokens carry the API's client ID, v1.0 tokens may carry either. Nothing here
    proves the token; only its API can.
    """
    if not claims:
        return
    client = claims.get("azp" if claims.get("ver") == "2.0" else "appid")
    for name, seen, expected in (("tid", claims.get("tid"), tenant_id), ("client", client, client_id)):
        if seen is None:
            raise TokenUnidentified(cause=f"Entra: token without {name}")
        if not isinstance(seen, str) or seen.lower() != expected.lower():
            raise TokenMismatch(cause=f"Entra: token of another {name}")
    if claims.get("idtyp", "app") != "app":
        raise TokenMismatch(cause="Entra: not an app-only token")


def _claims(secret: str) -> Mapping[str, Any]:
    """Read the claims of a token that is a JWT; any other token is opaque and has none.

    Only what lies between the dots is read: the signature proves nothing here.
    """
    parts = secret.split(".")
    if len(parts) != 3:
        return {}
    try:
        return json_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) or {}
    except ValueError:
        return {}


def _seconds(value: object) -> float | None:
    """Read a number of seconds; Entra has sent it as a string too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN is not less than anything, and an integer this large would not fit into a float.
    return float(value) if abs(value) < 1e9 else None
