"""The body of a token request: the requested resource and the proof of the client (RFC 6749 section 4.4)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from emulator.entra import assertion
from emulator.entra.asked_claims import AskedClaims, read_claims
from emulator.entra.errors import aadsts

MEDIA_TYPE = "application/x-www-form-urlencoded"
DEFAULT = "/.default"


@dataclass(frozen=True)
class Demand:
    """A well-formed request; at most one of `secret` and `assertion` is set."""

    client_id: str
    resource: str
    claims: AskedClaims
    secret: str | None = field(repr=False)
    assertion: str | None = field(repr=False)


def read(body: bytes, *, content_type: str) -> dict[str, str]:
    """Return the fields of a form; an empty field and a body of another media type count as absent.

    Raises:
        Refusal: the body is no form, or a field is repeated (RFC 6749 section 3.2).
    """
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        return {}
    try:
        pairs = parse_qsl(body.decode(), errors="strict")
    except ValueError:
        raise aadsts(9002313) from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise aadsts(9000411, parameter=name)
        fields[name] = value
    return fields


def understand(fields: Mapping[str, str], *, authorization: str) -> Demand:
    """Return the request, with its fields and its Authorization header checked against each other.

    Raises:
        Refusal: a field is missing or invalid, or the client authenticates in more than one way.
    """
    grant_type = _required(fields, "grant_type")
    if grant_type != "client_credentials":
        raise aadsts(70003, grant_type=grant_type)
    basic = _basic(authorization)
    client_id = basic[0] if basic else _required(fields, "client_id")
    if (named := fields.get("client_id", client_id)) != client_id:
        raise aadsts(90011, first=client_id, second=named)
    secret = fields.get("client_secret")
    signed = fields.get("client_assertion")
    if sum(way is not None for way in (basic, secret, signed)) > 1:
        raise aadsts(9002313)
    if signed is not None and _required(fields, "client_assertion_type") != assertion.TYPE:
        raise aadsts(9002313)
    return Demand(
        client_id=client_id.lower(),
        resource=_resource(_required(fields, "scope")),
        claims=read_claims(fields.get("claims", "{}")),
        secret=basic[1] if basic else secret,
        assertion=signed,
    )


def _required(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise aadsts(900144, parameter=name)
    return fields[name]


def _basic(authorization: str) -> tuple[str, str] | None:
    """Read client ID and secret from HTTP Basic, where both are form-encoded (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise aadsts(9002313) from None
    if not colon:
        raise aadsts(9002313)
    return unquote_plus(client_id), unquote_plus(secret)


def _resource(scope: str) -> str:
    if len(scope.split()) != 1 or scope == DEFAULT:
        raise aadsts(70011, scope=scope)
    if not scope.endswith(DEFAULT):
        raise aadsts(1002012, scope=scope)
    return scope.removesuffix(DEFAULT)
