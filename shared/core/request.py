"""Bytes from a caller -> one `TokenRequest`, or an error that says what to change.

Python's own parsers are lenient where OAuth is not: they let broken escapes, broken UTF-8 and repeated fields through.
This one reads exactly what RFC 6749 section 4.4.2 and the URL standard's form encoding allow.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from shared.core.challenge import read_claims
from shared.core.entra import is_default_scope, is_guid
from shared.core.errors import (
    InvalidRequest,
    InvalidScope,
    MethodNotAllowed,
    TooLarge,
    UnknownCaller,
    UnsupportedGrant,
    UnsupportedMedia,
)

BODY_LIMIT = 16 * 1024
FIELD_LIMIT = 8 * 1024
FIELDS = 32

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{16,512}\Z")
_FORM = re.compile(r"application/x-www-form-urlencoded\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?\Z", re.IGNORECASE)
# Credentials that belong to other endpoints: refused so that nobody gets used to sending them.
_MISPLACED = ("client_secret", "client_assertion")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a caller asks for, in valid form; whether it may have it is policy."""

    scope: str
    tenant_id: str | None = None
    claims: str | None = None
    """Of a claims challenge, in canonical form."""
    rejected: str | None = None
    """SHA-256 of a token that an API has rejected."""


def check_envelope(*, method: str, query: str, headers: Mapping[str, str], body: bytes) -> None:
    """Check everything about a request that needs no key and no parsing, in the documented order.

    Raises:
        MethodNotAllowed, InvalidRequest, TooLarge, UnsupportedMedia: the first that fails.
    """
    if method != "POST":
        raise MethodNotAllowed
    if query and any(unquote(part.partition("=")[0]).lower() == "code" for part in re.split("[&;]", query)):
        raise InvalidRequest(
            "the function key was sent in the URL, where logs keep it",
            cause="key in URL",
            hint="send it in the x-functions-key header, and have this key replaced",
        )
    if len(body) > BODY_LIMIT:
        raise TooLarge
    if "content-encoding" in headers:
        raise UnsupportedMedia(hint="send the body without Content-Encoding")
    media = headers.get("content-type")
    if media is None:
        raise InvalidRequest("the request has no Content-Type", hint="use application/x-www-form-urlencoded")
    if "," in media:
        raise InvalidRequest("the request has several Content-Types", hint="send one")
    if not _FORM.match(media.strip()):
        raise UnsupportedMedia


def caller_key(headers: Mapping[str, str]) -> str:
    """Take the function key from the header.

    A comma means that several were sent and the host has joined them: it has checked only the first, so none counts.

    Raises:
        UnknownCaller: there is none, or it has not the form of a key.
    """
    key = headers.get("x-functions-key", "")
    if not _KEY.match(key):
        raise UnknownCaller(cause="malformed key")
    return key


def read_token_request(body: bytes, *, query: str, headers: Mapping[str, str]) -> TokenRequest:
    """Read a token request.

    Raises:
        InvalidRequest, UnsupportedGrant, InvalidScope: with a hint.
    """
    if "authorization" in headers:  # RFC 6749 section 2.3: one way to authenticate per request
        raise InvalidRequest("the request has two kinds of credentials", hint="send x-functions-key alone")
    fields = read_form(body)
    for name in _MISPLACED:
        if name in fields:
            raise InvalidRequest(
                f"{name} is not accepted here", cause=f"{name} sent", hint="the function key is the only credential"
            )
    if "resource" in fields:
        raise InvalidRequest("resource is not accepted here", hint="use scope, with /.default behind the resource")
    if query and "scope" in read_form(query.encode("ascii", "replace")):
        raise InvalidRequest("scope was sent in the URL", hint="send it in the body alone")
    grant = fields.get("grant_type")
    if not grant:
        raise InvalidRequest("grant_type is missing", hint="grant_type=client_credentials")
    if grant != "client_credentials":
        raise UnsupportedGrant
    scope = fields.get("scope", "")
    if not is_default_scope(scope):
        raise InvalidScope(hint="for example https://graph.microsoft.com/.default")
    claims, rejected = fields.get("claims"), fields.get("token_sha256_to_refresh")
    if rejected is not None and not _SHA256.match(rejected):
        raise InvalidRequest(
            "token_sha256_to_refresh is malformed", hint="send the SHA-256 of the token in 64 lower-case hex digits"
        )
    return TokenRequest(
        scope=scope,
        tenant_id=_tenant(fields.get("tenant", "")),
        claims=None if claims is None else read_claims(claims),
        rejected=rejected,
    )


def read_form(body: bytes) -> dict[str, str]:
    """Split a form into its fields; an empty value counts as not sent (RFC 6749 section 3.2).

    Raises:
        InvalidRequest: it is too large, repeats a field, or is not clean UTF-8 in clean escapes.
    """
    if not body:
        return {}
    # No escape reaches over a separator, so that one look at the whole is one at every piece.
    if not body.isascii() or _BROKEN_ESCAPE.search(body):
        raise InvalidRequest("the form has a broken escape", hint="percent-encode the values")
    parts = body.split(b"&")
    if len(parts) > FIELDS:
        raise InvalidRequest(f"the form has more than {FIELDS} fields")
    fields: dict[str, str] = {}
    for part in parts:
        escaped, _, value = part.partition(b"=")
        name = _decoded(escaped)
        if not name:
            continue
        if name in fields:
            raise InvalidRequest("a form field is repeated", hint="send each field once")
        fields[name] = _decoded(value)
    return {name: value for name, value in fields.items() if value}


def _decoded(piece: bytes) -> str:
    if len(piece) > FIELD_LIMIT:
        raise InvalidRequest("a form field is larger than 8 KiB")
    spaced = piece.replace(b"+", b" ")
    if b"%" not in spaced:
        return spaced.decode()
    try:
        return unquote_to_bytes(spaced).decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not UTF-8") from None


def _tenant(text: str) -> str | None:
    if not text:
        return None
    if not is_guid(text):
        raise InvalidRequest("tenant must be a GUID", hint="use the directory (tenant) ID")
    return text.lower()
