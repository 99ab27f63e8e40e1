"""Outcomes -> HTTP answers (RFC 6749 sections 5.1 and 5.2)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.core.errors import VendError
from shared.core.token import AccessToken, Moment, TokenSource

SHORTEST_REFRESH = 30
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


def token_answer(
    token: AccessToken, source: TokenSource, *, scope: str, now: Moment, margin: float, correlation_id: str
) -> Answer:
    """Hand out a token.

    Args:
        token, source: what is handed out.
        scope: as it was asked for.
        now: both clocks.
        margin: seconds that the caller is told less than are left, for the way and its clock.
        correlation_id: of this request.
    """
    told = max(0, math.floor(token.remaining(now) - margin))
    due = max(SHORTEST_REFRESH, math.ceil(token.refresh_after - (now.boot - token.asked.boot)))
    # Put together by hand: the encoder would look at every character of the token, at every request. Nothing in a scope
    # needs an escape (RFC 6749 section 3.3), and it was checked.
    body = (
        f'{{"token_type": "Bearer", "access_token": {token.quoted}, "expires_in": {told}, '
        f'"expires_on": {math.floor(now.wall) + told}, "refresh_in": {due}, "scope": "{scope}", '
        f'"token_source": "{source.value}", "correlation_id": "{correlation_id}"}}'
    )
    return Answer(200, _HEADERS, body.encode())


def error_answer(error: VendError, *, method: str, correlation_id: str) -> Answer:
    """Refuse in the words that are meant for the caller."""
    body: dict[str, object] = {"error": error.error, "error_description": error.public}
    if error.hint is not None:
        body["hint"] = error.hint
    body |= {"correlation_id": correlation_id, "retryable": error.retryable}
    headers = {**_HEADERS, **error.headers}
    if error.wait is not None:
        headers["Retry-After"] = str(math.ceil(error.wait.total_seconds()))
    return Answer(error.status, headers, b"" if method == "HEAD" else json.dumps(body).encode())
