"""Pages of Microsoft Graph: requests with a token, and retries where a retry can help."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from shared.core.directory.refusal import LinkState, read_refusal
from shared.core.errors import OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply
from shared.core.retry import retry_after
from shared.core.token import AccessToken, Acquired, Moment

ATTEMPTS = 4
LONGEST_WAIT = 60.0
"""The longest wait in seconds for one retry. If Graph asks for more, the run ends and the next one continues."""


class ResyncRequired(UpstreamError):
    """Graph no longer accepts the link, so a new copy must start."""


class LinkDoubted(OperatorError):
    """Graph refuses the request, and it may be the link's fault."""


class PermissionMissing(OperatorError):
    """Graph refuses the request because the registration lacks the permission."""


class GetToken(Protocol):
    """Gets a token for Graph."""

    def __call__(self, *, rejected: str | None) -> Awaitable[Acquired]:
        """Return a token other than the one with the SHA-256 `rejected`; raise an `UpstreamError` if there is none."""


class Get(Protocol):
    """Sends a request to Graph."""

    def __call__(self, url: str, *, headers: Mapping[str, str]) -> Awaitable[Reply]:
        """Return the answer; raise an `UpstreamError` if there is none."""


class Graph:
    """Reads pages.

    Args:
        get_token: gets a token for Graph.
        get: sends a request.
        clock: reads both clocks.
        sleep: waits for some seconds.
        new_id: makes request ids, by which Microsoft's support finds a request.
    """

    def __init__(
        self,
        *,
        get_token: GetToken,
        get: Get,
        clock: Callable[[], Moment],
        sleep: Callable[[float], Awaitable[None]],
        new_id: Callable[[], str],
    ) -> None:
        self._get_token = get_token
        self._get = get
        self._clock = clock
        self._sleep = sleep
        self._new_id = new_id

    async def page(self, link: str) -> bytes:
        """Return the body of the page that a link leads to. The token is sent there: `read_page` checked the link.

        Raises:
            ResyncRequired: Graph no longer accepts the link.
            PermissionMissing: the registration may not read this.
            LinkDoubted: Graph refuses the request, perhaps for the link.
            OperatorError: Graph refuses the request for another reason.
            UpstreamError: Graph, or Entra, is not available.
        """
        rejected: str | None = None
        attempt = 1
        while True:
            token = (await self._get_token(rejected=rejected)).token
            try:
                reply = await self._get(link, headers=self._headers(token))
            except Unavailable as error:
                failure: UpstreamError = error
            else:
                if reply.status == 200:
                    return reply.body
                if reply.status == 401 and rejected is None:
                    rejected = token.sha256
                    continue
                failure = self._meaning(reply)
            wait = failure.upstream_wait.total_seconds() if failure.upstream_wait else 2.0 ** (attempt - 1)
            if not isinstance(failure, Unavailable) or attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise failure
            await self._sleep(wait)
            attempt += 1

    def _headers(self, token: AccessToken) -> Mapping[str, str]:
        return {
            "authorization": f"Bearer {token.secret}",
            "client-request-id": self._new_id(),
            # Graph serves the tenant's other requests first: https://learn.microsoft.com/graph/throttling-limits
            "x-ms-throttle-priority": "low",
        }

    def _meaning(self, reply: Reply) -> UpstreamError:
        """Return the error for an answer other than 200; no text of the answer is in it."""
        status, refusal = reply.status, read_refusal(reply)
        cause = f"Graph: HTTP {status} {refusal.code}".rstrip()
        wait = retry_after(reply.headers, now=self._clock().wall)
        if status == 429 or status >= 500:
            return Unavailable(cause=cause, upstream_wait=wait, trace_id=refusal.request_id)
        match refusal.link:
            case LinkState.FORGOTTEN:
                return ResyncRequired(cause="Graph has forgotten the last link", trace_id=refusal.request_id)
            case LinkState.DOUBTED:
                return LinkDoubted(cause=cause, trace_id=refusal.request_id)
            case LinkState.UNKNOWN:
                kind = PermissionMissing if status == 403 else OperatorError
                return kind(cause=cause, trace_id=refusal.request_id)
