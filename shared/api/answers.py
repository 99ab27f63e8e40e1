"""Outcomes -> HTTP answers: OAuth's (RFC 6749 sections 5.1 and 5.2), and those of App Service's managed identity."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from shared.core.errors import VendError
from shared.core.token import SHORTEST_REFRESH, AccessToken, Moment, TokenSource

LONGEST_SDK_WAIT = timedelta(seconds=10)
"""The Azure SDKs sit out a Retry-After three times over, while the service that asked them is blocked."""
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Vended(NamedTuple):
    """A token for a caller, and what the answer says about it.

    Args:
        token, source: the token, and where it came from.
        scope: of the token.
        client_id: of the app registration that the token was issued to.
        now: both clocks.
        margin: seconds subtracted from `expires_in`, to allow for network time and the caller's clock.
        correlation_id: of the request.
    """

    token: AccessToken
    source: TokenSource
    scope: str
    client_id: str
    now: Moment
    margin: float
    correlation_id: str

    @property
    def expires_in(self) -> int:
        """Seconds that the caller may use the token."""
        return max(0, math.floor(self.token.remaining(self.now) - self.margin))

    @property
    def expires_on(self) -> int:
        """The same as an instant, in seconds since the epoch."""
        return math.floor(self.token.time(self.now)) + self.expires_in


def token_answer(vended: Vended) -> Answer:
    """Hand out a token in the form of RFC 6749 section 5.1."""
    token, now = vended.token, vended.now
    due = max(SHORTEST_REFRESH, math.ceil(token.refresh_after - (now.boot - token.asked.boot)))
    # Put together by hand: the encoder would look at every character of the token, at every request. Nothing in a scope
    # needs an escape (RFC 6749 section 3.3), and it was checked.
    body = (
        f'{{"token_type": "Bearer", "access_token": {token.quoted}, "expires_in": {vended.expires_in}, '
        f'"expires_on": {vended.expires_on}, "refresh_in": {due}, "scope": "{vended.scope}", '
        f'"token_source": "{vended.source.value}", "correlation_id": "{vended.correlation_id}"}}'
    )
    return Answer(200, _HEADERS, body.encode())


def error_answer(error: VendError, *, correlation_id: str, headers: Mapping[str, str]) -> Answer:
    """Refuse in the form of RFC 6749 section 5.2, in the words that are meant for the caller."""
    body: dict[str, object] = {"error": error.error, "error_description": error.public}
    if error.hint is not None:
        body["hint"] = error.hint
    body |= {"correlation_id": correlation_id, "retryable": error.retryable}
    return _refusal(error.status, headers, body, wait=error.wait)


def managed_identity_answer(vended: Vended) -> Answer:
    """Hand out a token as App Service does: `expires_on` is a string, and azure-identity needs `resource`."""
    body = {
        "access_token": vended.token.secret,
        "expires_on": str(vended.expires_on),
        "resource": vended.scope.removesuffix("/.default"),
        "token_type": "Bearer",
        "client_id": vended.client_id,
        "correlationId": vended.correlation_id,
    }
    return Answer(200, _HEADERS, json.dumps(body).encode())


def managed_identity_error(error: VendError, *, correlation_id: str, headers: Mapping[str, str]) -> Answer:
    """Refuse as App Service does; what is worth a retry gets a status that every SDK retries.

    What is not names no wait, and what is names `LONGEST_SDK_WAIT` at most: azure-core sits out every Retry-After three
    times over, whatever the status.
    """
    text = f"{error.public}; {error.hint}" if error.hint else error.public
    # MSAL.NET repeats 503 and not 502; azure-core repeats both.
    status = 503 if error.retryable and error.status == 502 else error.status
    body = {
        "error": error.error,
        "error_description": text,
        "correlationId": correlation_id,
        # MSAL for Python hands on these two and nothing else; without them a denial reads "None, None".
        "statusCode": status,
        "message": f"{text} (correlation_id {correlation_id})",
    }
    wait = min(error.wait, LONGEST_SDK_WAIT) if error.retryable and error.wait is not None else None
    return _refusal(status, headers, body, wait=wait)


def report_answer(body: Mapping[str, object], *, not_before: timedelta | None) -> Answer:
    """Answer a question about the app itself: 503 where it cannot serve, and when to ask again."""
    if not_before is None:
        return Answer(200, _HEADERS, json.dumps(body).encode())
    return Answer(
        503, {**_HEADERS, "Retry-After": str(math.ceil(not_before.total_seconds()))}, json.dumps(body).encode()
    )


def _refusal(status: int, more: Mapping[str, str], body: Mapping[str, object], *, wait: timedelta | None) -> Answer:
    headers = {**_HEADERS, **more}
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait.total_seconds())))  # 0 would be an invitation to hammer
    return Answer(status, headers, json.dumps(body).encode())
