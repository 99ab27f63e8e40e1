"""Claims challenges: what an API wants of a new token, and what is passed on to Entra.

https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from shared.core.encoding import from_any_base64, is_any_base64
from shared.core.errors import InvalidRequest
from shared.core.strict_json import read_strict

ALLOWED = frozenset({"nbf", "acrs", "xms_rp_ipaddr", "xms_caeerror"})
"""Members of `access_token` that a caller may pass on; what vend is capable of, `xms_cc`, its profile says alone."""

# RFC 9110 section 11.6.1: a scheme, and parameters whose values are quoted.
_CHALLENGE = re.compile(r"\s*[A-Za-z][A-Za-z0-9-]* +[a-z_]+=", re.ASCII)
_CLAIMS = re.compile(r"[ ,]claims=\"([^\"]*)\"", re.ASCII)

_HINT = "pass on the claims of the WWW-Authenticate header as they are, in base64 or decoded"


def read_claims(text: str) -> str:
    """Return the claims of a challenge in one canonical form; they come as JSON, in base64 or in a whole header.

    Equal demands have equal text, whatever their spacing and order, so that they can share a flight.

    Raises:
        InvalidRequest: it is neither, repeats a key at any depth, or asks for something that is not `ALLOWED`.
    """
    try:
        claims = read_strict(_plain(_from_header(text)))
    except ValueError:
        raise InvalidRequest("claims is neither JSON nor its base64", hint=_HINT) from None
    if not _is_demand(claims):
        raise InvalidRequest(
            "claims may only ask for nbf, acrs, xms_rp_ipaddr and xms_caeerror of the access_token",
            hint='for example {"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}',
        )
    return _text(claims)


def not_before(claims: str) -> float | None:
    """Return the instant that claims name where a newer token is all that they ask for; else None.

    An API that has revoked older tokens asks for `nbf`, and a newer token then serves every caller; `xms_caeerror` is
    only its reason. Other claims are about the caller that was challenged: what its address is, or which conditions it
    has met.

    Args:
        claims: in canonical form.
    """
    demands = json.loads(claims)["access_token"]
    value = (demands.get("nbf") or {}).get("value") if demands.keys() - {"xms_caeerror"} == {"nbf"} else None
    return float(value) if value and value.isdigit() and len(value) < 12 else None


def claims_for(not_before: float) -> str:
    """Return claims, in canonical form, that ask for a token of an instant and for nothing else.

    What stands beside `nbf` is free text, so that what one caller wrote there is not sent for all.
    """
    return _text({"access_token": {"nbf": {"essential": True, "value": str(int(not_before))}}})


def claims_to_send(challenge: str | None, capabilities: Sequence[str]) -> str | None:
    """Merge a challenge in canonical form with what the client is capable of; None if there is nothing to send.

    https://learn.microsoft.com/entra/identity-platform/claims-challenge#how-to-communicate-client-capabilities-to-microsoft-entra-id
    """
    if not capabilities:
        return challenge
    demand = json.loads(challenge)["access_token"] if challenge else {}
    return _text({"access_token": {**demand, "xms_cc": {"values": list(capabilities)}}})


def _from_header(text: str) -> str:
    """Return the claims of a whole WWW-Authenticate header, of which one challenge alone has some; else the text."""
    if not _CHALLENGE.match(text):
        return text
    found = _CLAIMS.findall(text)
    if len(found) != 1:
        raise InvalidRequest("the header has no claims, or several", hint="send the claims of one challenge")
    return str(found[0])


def _plain(text: str) -> str:
    # Decoded here: Python's JSON would guess the encoding of bytes.
    return from_any_base64(text).decode() if is_any_base64(text) else text


def _is_demand(claims: object) -> bool:
    """Return whether these are claims of the access token alone, in the form of OpenID Connect Core section 5.5.1."""
    if not isinstance(claims, dict) or claims.keys() != {"access_token"}:
        return False
    demands = claims["access_token"]
    return (
        isinstance(demands, dict)
        and bool(demands)
        and all(name in ALLOWED and (wanted is None or _is_wanted(wanted)) for name, wanted in demands.items())
    )


def _is_wanted(wanted: object) -> bool:
    if not isinstance(wanted, dict) or not wanted.keys() <= {"essential", "value", "values"}:
        return False
    values = wanted.get("values", [])
    return (
        isinstance(wanted.get("essential", True), bool)
        and isinstance(values, list)
        and all(_is_word(value) for value in (wanted.get("value", ""), *values))
    )


def _is_word(value: object) -> bool:
    """Return whether a value is what such claims hold: moments, names, addresses; no number, no half of a character."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _text(claims: dict[str, Any]) -> str:
    return json.dumps(claims, separators=(",", ":"), sort_keys=True)
