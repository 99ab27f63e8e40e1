"""The proofs of a caller, and where an identity token stands: a Bearer or a client assertion.

Nothing is verified here. Strangers send such requests, so no more is looked at than the longest token has
(RFC 6750 section 2.1, RFC 7523 section 2.2).
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.core.errors import InvalidRequest, UnknownCaller
from shared.core.form import ClientFields, read_credential
from shared.core.identity_token import TOKEN_LIMIT, refused

_BEARER_LIMIT = len("Bearer ") + TOKEN_LIMIT
_CHARACTERS = f"{string.ascii_letters}{string.digits}_.-".encode()
"""Of a token in compact form."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a caller."""

    key: str = field(repr=False)
    """Empty where an identity token is all that was shown."""
    name: str | None = None
    """The caller that it says it is, where the protocol has it say so."""
    token: str | None = field(default=None, repr=False)
    """The text that may be an identity token."""


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """Return what may be an identity token in Authorization; None for anything else, which others have put there."""
    authorization = headers.get("authorization")
    if authorization is None or len(authorization) > _BEARER_LIMIT:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.lstrip(" ")
    return token if scheme.lower() == "bearer" and token.isascii() and _has_form(token.encode()) else None


def is_asserted(headers: Mapping[str, str], fields: ClientFields) -> bool:
    """Return whether a client proves itself by an assertion, and in no other way."""
    return bool(fields.assertion) and not fields.secret and "authorization" not in headers


def asserted_credentials(fields: ClientFields) -> Credentials:
    """Return a client assertion, and the name of the client that it is said to be of.

    Raises:
        UnknownIdentity: it has not the form of a token; no encoder escapes anything in one.
        UnknownCaller: there is none, or the name cannot be read.
    """
    if not fields.assertion:
        raise UnknownCaller("no credentials were sent: client_assertion", cause="no credentials")
    if len(fields.assertion) > TOKEN_LIMIT or not _has_form(fields.assertion):
        raise refused("no JWT")
    try:
        name = read_credential(fields.id)
    except InvalidRequest:
        raise UnknownCaller(cause="malformed credentials") from None
    return Credentials("", name or None, token=fields.assertion.decode())


def _has_form(token: bytes) -> bool:
    """Return whether a text has the characters of a token alone; a regular expression takes ten times as long."""
    return bool(token) and not token.translate(None, delete=_CHARACTERS)
