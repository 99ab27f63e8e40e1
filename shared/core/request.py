"""What a caller sends, in any of the three protocols -> one `TokenRequest`, or an error that says what to change.

What differs between the protocols is read here; `shared/api/routes.py` says which takes what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from shared.core.encoding import from_base64
from shared.core.entra.claims import read_claims
from shared.core.errors import (
    InvalidRequest,
    InvalidScope,
    MethodNotAllowed,
    TooLarge,
    UnknownCaller,
    UnsupportedGrant,
    UnsupportedMedia,
)
from shared.core.form import first_of, read_form, read_value
from shared.core.names import is_default_scope, is_guid, is_sha256

BODY_LIMIT = 16 * 1024
OLDEST_API_VERSION = "2019-08-01"
"""Of App Service's managed-identity protocol; the one before had other names for everything."""

_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{16,512}\Z")
# ASCII: in Unicode a long s would be an s.
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})\Z", re.IGNORECASE | re.ASCII)
_FORM = re.compile(
    r"[ \t]*application/x-www-form-urlencoded[ \t]*(;[ \t]*charset=(utf-8|\"utf-8\")[ \t]*)?\Z",
    re.IGNORECASE | re.ASCII,
)
_API_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-[a-z]+)?\Z")
# Credentials that belong to other endpoints: refused so that nobody gets used to sending them.
_MISPLACED = ("client_secret", "client_assertion")
# In the URL, where logs keep them, no secret of OAuth's is passed over in silence.
_SECRETS = (*_MISPLACED, "assertion", "password", "refresh_token", "access_token")
# What counts in the body does not count in the URL.
_BODY_ALONE = ("grant_type", "scope", "tenant", "claims", "token_sha256_to_refresh", "client_id")
_OTHER_IDENTITIES = ("principal_id", "object_id", "mi_res_id", "msi_res_id")


@dataclass(frozen=True, slots=True)
class Incoming:
    """An HTTP request as the host hands it on; header names in lower case."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def query(self) -> str:
        """What stands behind the question mark, as it was sent: the host's own reading joins what was sent twice."""
        return self.url.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller proves itself with."""

    key: str = field(repr=False)
    name: str | None = None
    """The caller that it says it is, where the protocol has it say so."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a caller asks for, in valid form; whether it may have it is policy."""

    scopes: tuple[str, ...]
    """What it may mean, the likeliest first: in the managed-identity protocol a trailing slash may be meant, or not."""
    tenant_id: str | None = None
    claims: str | None = None
    """Of a claims challenge, in canonical form."""
    rejected: str | None = None
    """SHA-256 of a token that an API has rejected."""
    client_id: str | None = None
    """The app registration whose token it must be."""


def check_envelope(incoming: Incoming, *, method: str) -> None:
    """Check what needs no key and no parsing, in the documented order.

    Raises:
        MethodNotAllowed, InvalidRequest, TooLarge: the first that fails.
    """
    if incoming.method != method:
        raise MethodNotAllowed(f"use {method}")
    query = incoming.query
    if query and any(unquote(part.partition("=")[0]).lower() == "code" for part in re.split("[&;]", query)):
        raise InvalidRequest(
            "the function key was sent in the URL, where logs keep it",
            cause="key in URL",
            hint="send it in its header, and have this key replaced",
        )
    if len(incoming.body) > BODY_LIMIT:
        raise TooLarge


def check_form_media(headers: Mapping[str, str]) -> None:
    """Check that the body is said to be a plain form.

    Raises:
        InvalidRequest: no type, or several.
        UnsupportedMedia: another type.
    """
    if "content-encoding" in headers:
        raise UnsupportedMedia(hint="send the body without Content-Encoding")
    media = headers.get("content-type")
    if media is None:
        raise InvalidRequest("the request has no Content-Type", hint="use application/x-www-form-urlencoded")
    if "," in media:
        raise InvalidRequest("the request has several Content-Types", hint="send one")
    if not _FORM.match(media):
        raise UnsupportedMedia


def key_in_header(headers: Mapping[str, str], name: str) -> Credentials:
    """Take the function key from a header.

    A comma means that several were sent and the host has joined them: it has checked only the first, so none counts.

    Raises:
        UnknownCaller: there is none, or it has not the form of a key.
    """
    return Credentials(_key(headers.get(name, "")))


def client_credentials(headers: Mapping[str, str], body: bytes) -> Credentials:
    """Take name and key as OAuth clients send them: by HTTP Basic, or in the form (RFC 6749 section 2.3.1).

    Raises:
        UnknownCaller: there are none, not in the form of a name and a key, or of two names.
    """
    authorization = headers.get("authorization")
    try:
        named = first_of(body, "client_id")
        if authorization is None:
            name, key = named, first_of(body, "client_secret")
        else:
            basic = _BASIC.match(authorization)
            # Both halves are form-encoded before they are put together; the name has no colon, the key may.
            name, key = (read_value(half) for half in from_base64(basic[1] if basic else "").split(b":", 1))
    except (ValueError, InvalidRequest):
        raise UnknownCaller(cause="malformed credentials") from None
    if not name or not key:
        raise UnknownCaller(cause="no credentials")
    if named not in {None, name}:
        raise UnknownCaller(cause="two names")
    return Credentials(_key(key), name)


def check_one_credential(headers: Mapping[str, str], own: str) -> None:
    """Hold a caller to one way to prove itself (RFC 6749 section 2.3).

    Raises:
        InvalidRequest: the headers hold another.
    """
    for other in ("authorization", "x-functions-key", "x-identity-header"):
        if other != own and other in headers:
            raise InvalidRequest("the request has two kinds of credentials", hint=f"send one, without {other}")


def read_token_request(body: bytes, query: str, *, own: tuple[str, ...] = ()) -> TokenRequest:
    """Read the form of an OAuth token request.

    Args:
        body: the form.
        query: of the URL, in which nothing may stand that belongs into the form.
        own: fields with credentials that have been taken from it already.

    Raises:
        InvalidRequest, UnsupportedGrant, InvalidScope: with a hint.
    """
    fields, in_url = read_form(body), _read_query(query)
    for name in _MISPLACED:
        if name in fields and name not in own:
            raise InvalidRequest(
                f"{name} is not accepted here", cause=f"{name} sent", hint="the function key is the only credential"
            )
    if "resource" in fields or "resource" in in_url:
        raise InvalidRequest("resource is not accepted here", hint="use scope, with /.default behind the resource")
    for name in _BODY_ALONE:
        if name in in_url:
            raise InvalidRequest(f"{name} was sent in the URL", hint="send it in the body alone")
    grant = fields.get("grant_type")
    if not grant:
        raise InvalidRequest("grant_type is missing", hint="grant_type=client_credentials")
    if grant != "client_credentials":
        raise UnsupportedGrant
    scope = fields.get("scope", "")
    if not is_default_scope(scope):
        raise InvalidScope(hint="for example https://graph.microsoft.com/.default")
    claims = fields.get("claims")
    return TokenRequest(
        scopes=(scope,),
        tenant_id=_guid(fields, "tenant", hint="use the directory (tenant) ID"),
        claims=None if claims is None else read_claims(claims),
        rejected=_rejected(fields),
    )


def read_managed_identity_request(query: str) -> TokenRequest:
    """Read a request in App Service's managed-identity protocol.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference

    Raises:
        InvalidRequest, InvalidScope: with a hint.
    """
    fields = _read_query(query)
    version = fields.get("api-version", "")
    if not _API_VERSION.match(version) or version < OLDEST_API_VERSION:
        raise InvalidRequest("api-version is missing or unknown", hint=f"use {OLDEST_API_VERSION} or a later one")
    for name in _OTHER_IDENTITIES:
        if name in fields:
            raise InvalidRequest(f"{name} is not accepted here", hint="use client_id, or nothing")
    resource = fields.get("resource")
    if not resource:
        raise InvalidRequest("resource is missing", hint="for example https://graph.microsoft.com")
    return TokenRequest(
        scopes=_meant(resource),
        rejected=_rejected(fields),
        client_id=_guid(fields, "client_id", hint="use the application (client) ID, or nothing"),
    )


def _meant(resource: str) -> tuple[str, ...]:
    """List the scopes that a resource may mean."""
    meant = [resource] if resource.endswith("/.default") else [f"{resource}/.default"]
    if resource.endswith("/"):
        meant.append(f"{resource}.default")
    if not is_default_scope(meant[0]):
        raise InvalidScope("resource is malformed", hint="for example https://graph.microsoft.com")
    return tuple(meant)


def _rejected(fields: Mapping[str, str]) -> str | None:
    rejected = fields.get("token_sha256_to_refresh")
    if rejected is not None and not is_sha256(rejected):
        raise InvalidRequest(
            "token_sha256_to_refresh is malformed", hint="send the SHA-256 of the token in 64 lower-case hex digits"
        )
    return rejected


def _guid(fields: Mapping[str, str], name: str, *, hint: str) -> str | None:
    text = fields.get(name)
    if text is None:
        return None
    if not is_guid(text):
        raise InvalidRequest(f"{name} must be a GUID", hint=hint)
    return text.lower()


def _key(text: str) -> str:
    if not _KEY.match(text):
        raise UnknownCaller(cause="malformed key")
    return text


def _read_query(query: str) -> dict[str, str]:
    """Read the fields of a URL.

    Raises:
        InvalidRequest: it is no clean form, or holds a secret.
    """
    fields = read_form(query.encode(errors="surrogatepass"), of="URL")
    for name in _SECRETS:
        if name in fields:
            raise InvalidRequest(
                f"{name} was sent in the URL, where logs keep it",
                cause=f"{name} in URL",
                hint="send it nowhere but where it belongs, and have this one replaced",
            )
    return fields
