"""The `claims` parameter of a token request: the capabilities of the client and the challenge of a resource.

Its form is that of OpenID Connect Core section 5.5. A client that declares `cp1` gets tokens that live a day, because a
resource can refuse one earlier. Source: https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
from dataclasses import dataclass

from emulator.entra.errors import aadsts

LONG_LIVED = "cp1"


@dataclass(frozen=True)
class AskedClaims:
    """The claims that were requested; `not_before` is in epoch seconds, 0 if absent."""

    capabilities: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    not_before: int = 0

    @property
    def long_lived(self) -> bool:
        """Return whether the client handles claims challenges, and so gets tokens that live a day."""
        return LONG_LIVED in self.capabilities

    def stated(self, claims: dict[str, object], *, now: int) -> dict[str, object]:
        """Return the claims of a token with those that were requested added; `nbf` is no earlier than requested."""
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
        Refusal: it is no JSON object of objects, or a claim is requested in another form than the standard's.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise aadsts(9002313) from None
    token = _member(document, "access_token")
    not_before = _values(token, "nbf") or ("0",)
    if len(not_before) > 1 or not (not_before[0].isascii() and not_before[0].isdigit() and len(not_before[0]) < 12):
        raise aadsts(9002313)
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
    raise aadsts(9002313)


def _member(document: object, name: str) -> dict[str, object]:
    """Return an object inside an object; absent and null are both empty."""
    if not isinstance(document, dict):
        raise aadsts(9002313)
    match document.get(name):
        case None:
            return {}
        case dict() as found:
            return found
    raise aadsts(9002313)
