"""Requests of callers in any of the three protocols -> one `TokenRequest`, or an error that says what to change.

What differs between the protocols is read here; `shared/api/routes.py` says which takes what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
from shared.core.form import CREDENTIAL_LIMIT, client_of, read_credential, read_form
from shared.core.names import is_default_scope, is_guid, is_sha256
from shared.core.proofs import Credentials, asserted_credentials, is_asserted
from shared.core.url import check_no_secret

BODY_LIMIT = 16 * 1024
OLDEST_API_VERSION = "2019-08-01"
"""Of App Service's managed-identity protocol; the one before had other names for everything."""

BASIC_LIMIT = len("Basic ") + 4 * ((2 * CREDENTIAL_LIMIT + len(":") + 2) // 3)
"""Characters: a header with the longest name and key. A longer one is not looked at."""
MEDIA_LIMIT = 128
"""Characters of Content-Type."""

_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{16,512}\Z")
# ASCII: in Unicode a long s would be an s.
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})\Z", re.IGNORECASE | re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_UTF_8 = frozenset({"charset=utf-8", 'charset="utf-8"', "charset=utf8", 'charset="utf8"'})
# In these the bytes of ASCII mean what they mean in UTF-8. Apache HttpClient sends the first of them by default.
_LIKE_ASCII = frozenset(
    f"charset={quote}{name}{quote}" for name in ("iso-8859-1", "us-ascii", "windows-1252") for quote in ("", '"')
)
_BEYOND_ASCII = re.compile(rb"%[89A-Fa-f]")
_API_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-[a-z]+)?\Z")
_ONLY_KEY = "the function key is the only credential"
FOREIGN: Mapping[str, str] = {"client_secret": _ONLY_KEY, "client_assertion": _ONLY_KEY}
"""Fields with credentials of other endpoints, each with a hint: refused so that nobody gets used to sending them."""
BESIDE_BASIC: Mapping[str, str] = {**FOREIGN, "client_secret": "HTTP Basic or the form, not both"}
IN_THE_FORM: Mapping[str, str] = {"client_assertion": "client_secret or client_assertion, not both"}
BY_ASSERTION: Mapping[str, str] = {"client_secret": "client_secret or client_assertion, not both"}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523 section 2.2."""
_NO_BODY = "send Content-Length, without which the platform drops the body"
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
        """The raw query, as it was sent: the host's own reading joins fields that were sent twice."""
        return self.url.partition("?")[2]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A valid request of a caller; whether it may have the token is policy."""

    scopes: tuple[str, ...]
    """The scopes that it may mean, the likeliest first: the managed-identity protocol may add a trailing slash."""
    tenant_id: str | None = None
    claims: str | None = None
    """Of a claims challenge, in canonical form."""
    rejected: str | None = None
    """SHA-256 of a token that an API has rejected."""
    client_id: str | None = None
    """The app registration whose token it must be."""


def check_envelope(incoming: Incoming, *, method: str) -> None:
    """Check what needs no key, in the order of docs/architecture.md; the work is bounded, as anybody can cause it.

    Raises:
        MethodNotAllowed, InvalidRequest, TooLarge: the first that fails.
    """
    if incoming.method != method:
        raise MethodNotAllowed(f"use {method}")
    if query := incoming.query:
        check_no_secret(query)
    if len(incoming.body) > BODY_LIMIT:
        raise TooLarge


def check_form_media(headers: Mapping[str, str], body: bytes) -> None:
    """Check that the body is said to be a plain form, in UTF-8 or in what is the same for this body.

    Raises:
        InvalidRequest: no type, or several.
        UnsupportedMedia: another type, or another charset.
    """
    if "content-encoding" in headers:
        raise UnsupportedMedia(hint="send the body without Content-Encoding")
    content_type = headers.get("content-type")
    if content_type is None:
        raise InvalidRequest("the request has no Content-Type", hint="use application/x-www-form-urlencoded")
    if len(content_type) > MEDIA_LIMIT:
        raise UnsupportedMedia
    if "," in content_type:
        raise InvalidRequest("the request has several Content-Types", hint="send one")
    media, *parameters = (part.strip(" \t") for part in content_type.lower().split(";"))
    given = [parameter for parameter in parameters if parameter]  # RFC 9110 section 5.6.6: one may be empty
    if media != _FORM or len(given) > 1:
        raise UnsupportedMedia
    if not given or given[0] in _UTF_8:
        return
    if given[0] not in _LIKE_ASCII or _BEYOND_ASCII.search(body):
        raise UnsupportedMedia


def key_in_header(headers: Mapping[str, str], name: str) -> str:
    """Return the function key from a header.

    A comma means that several were sent and the host has joined them: it has checked only the first, so none counts.

    Raises:
        UnknownCaller: there is none, or it has not the form of a key.
    """
    key = headers.get(name)
    if key is None:
        raise UnknownCaller(f"no credentials were sent: the header {name}", cause="no credentials")
    return _key(key)


def client_credentials(headers: Mapping[str, str], body: bytes) -> Credentials:
    """Return what OAuth clients send: name and key by HTTP Basic or in the form, or an assertion.

    RFC 6749 section 2.3.1, RFC 7523 section 2.2.

    Raises:
        UnknownCaller: there are none, not in the form of a name and a key or of a token, or of two names.
    """
    authorization, fields = headers.get("authorization"), client_of(body)
    if is_asserted(headers, fields):
        return asserted_credentials(fields)
    client_id, client_secret, _ = fields
    if authorization is None and not client_id and not client_secret:
        raise UnknownCaller(
            "no credentials were sent: HTTP Basic, or client_id and client_secret",
            cause="no credentials",
            hint=None if body else _NO_BODY,
        )
    try:
        # Both halves are form-encoded before they are put together; the name has no colon, the key may.
        name, key = (client_id, client_secret) if authorization is None else _halves(authorization)
        named = "" if authorization is None else read_credential(client_id)
        return _client(read_credential(name), read_credential(key), named=named)
    except (ValueError, InvalidRequest):
        raise UnknownCaller(cause="malformed credentials") from None


def unencoded_credentials(headers: Mapping[str, str], body: bytes) -> Credentials | None:
    """Return HTTP Basic as clients send it that do not form-encode the key, `curl -u` among them (RFC 7617).

    Returns:
        None where that is the same key, or no name and key.
    """
    if "authorization" not in headers:
        return None
    try:
        name, key = _halves(headers["authorization"])
        if b"+" not in key and b"%" not in key:
            return None
        return _client(read_credential(name), key.decode(), named=read_credential(client_of(body).id))
    except (ValueError, InvalidRequest, UnknownCaller):
        return None


def _halves(authorization: str) -> tuple[bytes, bytes]:
    """Return the two halves of HTTP Basic, still escaped.

    Raises:
        ValueError: it is no HTTP Basic, or longer than a name and a key.
    """
    basic = _BASIC.match(authorization) if len(authorization) <= BASIC_LIMIT else None
    name, colon, key = from_base64(basic[1] if basic else "").partition(b":")
    if not colon:
        raise ValueError("no colon")
    return name, key


def _client(name: str, key: str, *, named: str) -> Credentials:
    if not name or not key:
        raise UnknownCaller(cause="half of the credentials")
    if named not in {"", name}:
        raise UnknownCaller(cause="two names")
    return Credentials(_key(key), name)


def check_one_credential(headers: Mapping[str, str], own: str) -> None:
    """Check that a caller proves itself in one way (RFC 6749 section 2.3).

    Raises:
        InvalidRequest: the headers hold another.
    """
    # Not Authorization: the platform, a portal or a .netrc adds it without being asked.
    for other in ("x-functions-key", "x-identity-header"):
        if other != own and other in headers:
            raise InvalidRequest("the request has two kinds of credentials", hint=f"send one, without {other}")


def read_token_request(body: bytes, query: str, *, foreign: Mapping[str, str] = FOREIGN) -> TokenRequest:
    """Read the form of an OAuth token request.

    Args:
        body: the form.
        query: of the URL, in which nothing may stand that belongs into the form.
        foreign: fields with credentials that the route refuses, each with a hint.

    Raises:
        InvalidRequest, UnsupportedGrant, InvalidScope: with a hint.
    """
    if not body:
        raise InvalidRequest("the request has no body", hint=_NO_BODY)
    fields, in_url = read_form(body), _read_query(query)
    for name, hint in foreign.items():
        if name in fields:
            raise InvalidRequest(f"{name} is a second credential", cause=f"{name} sent", hint=hint)
    client_id = _asserted_client(fields) if foreign is BY_ASSERTION else None
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
        client_id=client_id,
    )


def _asserted_client(fields: Mapping[str, str]) -> str | None:
    """Return the client that an assertion is sent for, where that is one of Entra's and not the name of a caller."""
    if fields.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidRequest("client_assertion_type is missing or unknown", hint=f"send {ASSERTION_TYPE}")
    client_id = fields.get("client_id", "")
    return client_id.lower() if is_guid(client_id) else None


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
    return read_form(query.encode(errors="surrogatepass"), of="URL")
