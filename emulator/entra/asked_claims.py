"""The `claims` parameter of a token request: what a client can handle, and what a resource's challenge asked for.

Its form is that of OpenID Connect Core section 5.5. Who declares `cp1` gets tokens of a day, since a resource can
refuse one earlier. Source: learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
from dataclasses import dataclass

from emulator.entra.errors import RefusedError

LONG_LIVED = "cp1"


@dataclass(frozen=True)
class AskedClaims:
    """What was asked of the access token; `not_before` is in epoch seconds, 0 where nothing was asked."""

    capabilities: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    not_before: int = 0

    @property
    def long_lived(self) -> bool:
        """Whether the client handles challenges, and so may keep a token for a day."""
        return LONG_LIVED in self.capabilities

    def stated(self, claims: dict[str, object], *, now: int) -> dict[str, object]:
        """Answer in a token's claims what was asked; one that must be younger than some moment says that it is."""
        added: dict[str, object] = {}
        if self.capabilities:
            added["xms_cc"] = list(self.capabilities)
        if self.contexts:
            added["acrs"] = list(self.contexts)
        youngest = min(self.not_before, now)
        if isinstance(usual := claims["nbf"], int) and youngest > usual:
            added["nbf"] = added["iat"] = youngest
        return claims | added


def read_claims(text: str) -> AskedClaims:
    """Read the parameter.

    Raises:
        RefusedError: it is no JSON object of objects, or a claim is asked for in another form than the standard's.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError(9002313) from None
    token = _member(document, "access_token")
    not_before = _values(token, "nbf") or ("0",)
    if len(not_before) > 1 or not (not_before[0].isascii() and not_before[0].isdigit() and len(not_before[0]) < 12):
        raise RefusedError(9002313)
    for name in token:
        _values(token, name)
    return AskedClaims(
        capabilities=_values(token, "xms_cc"), contexts=_values(token, "acrs"), not_before=int(not_before[0])
    )


def _values(token: dict[str, object], name: str) -> tuple[str, ...]:
    asked = _member(token, name)
    match asked.get("values", [asked["value"]] if "value" in asked else []):
        case [*values] if all(isinstance(value, str) for value in values):
            return tuple(str(value) for value in values)
    raise RefusedError(9002313)


def _member(document: object, name: str) -> dict[str, object]:
    """Take an object out of an object; absent and null are both empty."""
    if not isinstance(document, dict):
        raise RefusedError(9002313)
    match document.get(name):
        case None:
            return {}
        case dict() as found:
            return found
    raise RefusedError(9002313)
