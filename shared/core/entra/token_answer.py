"""The client-credentials flow against Microsoft Entra, as pure functions: what is sent, and what an answer means.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from jwt.utils import base64url_decode

from shared.core.errors import (
    BadAnswer,
    CredentialRefused,
    Denied,
    Garbled,
    Impostor,
    OperatorError,
    RegionRefused,
    TimedOut,
    Unavailable,
    VendError,
)
from shared.core.retry import retry_after
from shared.core.token import AccessToken, Moment, Said, refresh_after

ASSERTION_LIFE = timedelta(minutes=10)
"""What Microsoft advises at the most for a client assertion."""
ASSERTION_REUSE = timedelta(minutes=9)
"""How long one is sent again: Entra accepts a repeated `jti`, and a minute is left for the way and the clocks."""
LONGEST_LIFE = 172_800
"""Seconds; no Entra token lives longer than two days."""

_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_AADSTS = re.compile(r"AADSTS([0-9]{4,9})\b")
# Visible ASCII without the quote and the backslash: the scope-token of RFC 6749 section 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+/\.default\Z")
_SCOPE_LENGTH = 1_024
_REGIONAL_HOSTS = {"login.microsoftonline.com": "login.microsoft.com"}
"""The public cloud's regions have a domain of their own; everywhere else they stand before the host."""
_REGION_REFUSED = 100007
_PERMANENT: Mapping[str | None, type[VendError]] = MappingProxyType(
    {
        None: Garbled,
        "invalid_scope": Denied,
        "invalid_resource": Denied,
        "invalid_client": CredentialRefused,
    }
)
"""What a refusal that no retry mends means, by its `error`; any other is the operator's."""
_UTI = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One Microsoft cloud: where its services are. https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud."""

    authority: str
    graph: str
    management: str
    token_exchange_audience: str
    verify_vault_challenge: bool

    def token_endpoint(self, tenant_id: str, *, region: str = "") -> str:
        """Name the URL that answers for a tenant; without a region it is also the audience of an assertion.

        https://learn.microsoft.com/entra/msal/dotnet/how-to/regional-authorities
        """
        host = self.authority.removeprefix("https://")
        if region:
            host = f"{region}.{_REGIONAL_HOSTS.get(host, host)}"
        return f"https://{host}/{tenant_id}/oauth2/v2.0/token"


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        "public": Cloud(
            authority="https://login.microsoftonline.com",
            graph="https://graph.microsoft.com",
            management="https://management.azure.com",
            token_exchange_audience="api://AzureADTokenExchange",
            verify_vault_challenge=True,
        ),
        "usgov": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            verify_vault_challenge=True,
        ),
        "usgov-dod": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://dod-graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            verify_vault_challenge=True,
        ),
        "china": Cloud(
            authority="https://login.partner.microsoftonline.cn",
            graph="https://microsoftgraph.chinacloudapi.cn",
            management="https://management.chinacloudapi.cn",
            token_exchange_audience="api://AzureADTokenExchangeChina",
            verify_vault_challenge=True,
        ),
    }
)


def is_guid(text: str) -> bool:
    """Tell whether a tenant or client id is a GUID: nothing else is ever put into a URL."""
    return _GUID.match(text) is not None


def is_default_scope(text: str) -> bool:
    """Tell whether a scope is exactly one `resource/.default`, all that client credentials can ask for."""
    return len(text) <= _SCOPE_LENGTH and _SCOPE.match(text) is not None


def unsigned_assertion(*, client_id: str, audience: str, thumbprint: str, jti: str, now: float) -> bytes:
    """Write the client assertion that the certificate's key must sign with PS256.

    https://learn.microsoft.com/entra/identity-platform/certificate-credentials

    Args:
        client_id: the app registration; issuer and subject alike.
        audience: the token endpoint of the tenant.
        thumbprint: SHA-256 of the certificate, as in `x5t#S256`.
        jti: unique per assertion that is signed.
        now: seconds since the epoch, by the wall clock: Entra compares it with its own.
    """
    issued = int(now)
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}
    claims = {
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": jti,
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(ASSERTION_LIFE.total_seconds()),
    }
    return b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def signed_assertion(unsigned: bytes, signature: bytes) -> str:
    """Join an assertion with its signature (RFC 7515 section 7.1)."""
    return (unsigned + b"." + _base64url(signature)).decode()


def token_request(*, client_id: str, scope: str, assertion: str, claims: str | None) -> bytes:
    """Write the form that asks for a token."""
    fields = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": scope,
        "client_assertion_type": _JWT_BEARER,
        "client_assertion": assertion,
    }
    if claims is not None:
        fields["claims"] = claims
    return urlencode(fields).encode()


def read_token(body: bytes, *, asked: Moment, fraction: float, tenant_id: str, client_id: str) -> AccessToken:
    """Read a 200 answer of the token endpoint.

    Args:
        body: as it came.
        asked: when the request left.
        fraction: for `refresh_after`.
        tenant_id, client_id: for whom the token must be.

    Raises:
        Garbled: it is no JSON object.
        BadAnswer: it is not a token of a sensible life.
        Impostor: the token is no Bearer token, or not for this tenant and client.
    """
    answer = _json_object(body)
    if answer is None:
        raise Garbled(cause="the answer is not a JSON object")
    secret = answer.get("access_token")
    if not isinstance(secret, str) or not secret or not secret.isascii() or not secret.isprintable():
        raise BadAnswer(cause="no access_token in the answer")
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Impostor(cause="token_type is not Bearer")
    lifetime = _seconds(answer.get("expires_in"))
    if lifetime is None or not 1 <= lifetime <= LONGEST_LIFE:
        raise BadAnswer(cause="expires_in is missing or absurd")
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
        said=Said(
            audience=audience if isinstance(audience, str) else None,
            has_roles=bool(claims.get("roles")) if claims else None,
            scope=scope if isinstance(scope, str) else None,
            uti=uti if isinstance(uti, str) and _UTI.match(uti) else None,
        ),
    )


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> VendError:
    """Say what an answer other than 200 means for the caller; upstream's own words are left behind.

    Args:
        status: of the answer.
        headers: its headers, names in lower case.
        body: as it came.
        now: seconds since the epoch, for a Retry-After that is a date.
    """
    wait = retry_after(headers.get("retry-after"), now=now)
    code, error, trace_id = _error(body)
    cause = f"AADSTS{code}" if code else f"HTTP {status}"
    kind = _kind(status, error, code=code, wait=wait)
    return kind(cause=cause, retry_after=wait, code=code, trace_id=trace_id)


def clock_difference(headers: Mapping[str, str], *, now: float) -> float | None:
    """Tell the seconds that our wall clock is ahead of an answer's Date (RFC 9110 section 6.6.1); None without one."""
    try:
        return now - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, IndexError, OverflowError):
        return None


def _kind(status: int, error: str | None, *, code: int | None, wait: timedelta | None) -> type[VendError]:
    if status == 408:
        return TimedOut
    if status == 429 or status >= 500 or error == "temporarily_unavailable" or wait is not None:
        return Unavailable
    if status < 400:
        return BadAnswer
    if code == _REGION_REFUSED:
        return RegionRefused
    return _PERMANENT.get(error, OperatorError)


def _error(body: bytes) -> tuple[int | None, str | None, str | None]:
    """Read the AADSTS number, the OAuth error and the trace id of a refusal, as far as it is one."""
    answer = _json_object(body) or {}
    error = answer.get("error")
    description = answer.get("error_description")
    found = _AADSTS.match(description) if isinstance(description, str) else None
    ids = (answer.get("trace_id"), answer.get("correlation_id"))
    return (
        int(found.group(1)) if found else None,
        error if isinstance(error, str) and error else None,
        next((each.lower() for each in ids if isinstance(each, str) and is_guid(each)), None),
    )


def _check_claims(claims: Mapping[str, Any], *, tenant_id: str, client_id: str) -> None:
    """Compare what a token says of itself with what was asked for: Entra's always name their tenant and client.

    The audience is not compared: v2.0 tokens carry the API's client id, v1.0 tokens may carry either. Nothing here
    proves the token; only its API can.
    """
    if not claims:
        return
    client = claims.get("azp" if claims.get("ver") == "2.0" else "appid")
    for name, seen, expected in (("tid", claims.get("tid"), tenant_id), ("client", client, client_id)):
        if not isinstance(seen, str) or seen.lower() != expected.lower():
            raise Impostor(cause=f"token of another {name}")
    if claims.get("idtyp", "app") != "app":
        raise Impostor(cause="not an app-only token")


def _claims(secret: str) -> Mapping[str, Any]:
    """Read the claims of a token that is a JWT; any other token is opaque and has none.

    Only what lies between the dots is read: `jwt.decode` would look at a signature that proves nothing here, at nine
    times the cost.
    """
    parts = secret.split(".")
    if len(parts) != 3:
        return {}
    try:
        return _json_object(base64url_decode(parts[1])) or {}
    except ValueError:
        return {}


def _json_object(body: bytes) -> dict[str, Any] | None:
    """Parse an answer; None, not an error, where it is no JSON object: a JSONDecodeError carries all of the text."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _seconds(value: object) -> float | None:
    """Read a number of seconds; Entra has sent it as a string too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN is not less than anything, and an integer this large would not fit into a float.
    return float(value) if abs(value) < 1e9 else None


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
