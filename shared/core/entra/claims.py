"""Claims challenges: what an API wants of a new token, and what is passed on to Entra.

https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from shared.core.encoding import from_any_base64, is_any_base64
from shared.core.errors import InvalidRequest

ALLOWED = frozenset({"nbf", "acrs", "xms_rp_ipaddr"})
"""Members of `access_token` that a caller may pass on; what vend is capable of, `xms_cc`, its profile says alone."""

_HINT = "pass on the claims of the WWW-Authenticate header as they are, in base64 or decoded"


def read_claims(text: str) -> str:
    """Read the claims of a challenge, as JSON or in the base64 of a WWW-Authenticate header, into one canonical form.

    Equal demands have equal text, whatever their spacing and order, so that they can share a flight.

    Raises:
        InvalidRequest: it is neither, repeats a key at any depth, or asks for something that is not `ALLOWED`.
    """
    try:
        claims = json.loads(_plain(text), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("claims is neither JSON nor its base64", hint=_HINT) from None
    if not _is_demand(claims):
        raise InvalidRequest(
            "claims may only ask for nbf, acrs and xms_rp_ipaddr of the access_token",
            hint='for example {"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}',
        )
    return _text(claims)


def claims_to_send(challenge: str | None, capabilities: Sequence[str]) -> str | None:
    """Merge a challenge in canonical form with what the client is capable of; None if there is nothing to send.

    https://learn.microsoft.com/entra/identity-platform/claims-challenge#how-to-communicate-client-capabilities-to-microsoft-entra-id
    """
    if not capabilities:
        return challenge
    demand = json.loads(challenge)["access_token"] if challenge else {}
    return _text({"access_token": {**demand, "xms_cc": {"values": list(capabilities)}}})


def _plain(text: str) -> str:
    # As text and never as bytes: of those, json would guess the encoding, and take UTF-16 and a byte order mark.
    return from_any_base64(text).decode() if is_any_base64(text) else text


def _is_demand(claims: object) -> bool:
    """Tell whether these are claims of the access token alone, in the form of OpenID Connect Core section 5.5.1."""
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
    """Tell whether a value is what such claims hold: moments, names, addresses; no number, no half of a character."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs; json would keep the last of two with one name and say nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _text(claims: dict[str, Any]) -> str:
    return json.dumps(claims, separators=(",", ":"), sort_keys=True)
