"""What Graph may answer to the request for a page, and how long a run waits for another answer."""

import asyncio
from collections.abc import Mapping
from email.utils import formatdate

import pytest

from shared.core.errors import BadAnswer, OperatorError, TimedOut, Unavailable, UpstreamError
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, TokenSource
from shared.directory.graph import Graph, ResyncRequired
from tests.clock import FakeClock

LINK = "https://graph.microsoft.com/v1.0/users/delta?$deltatoken=x"
CLOCK = FakeClock()
PAGE = Reply(200, b"a page")


def busy(retry_after: str, *, status: int = 429) -> Reply:
    """Make an answer that names a wait."""
    return Reply(status, b"CANARY", {"retry-after": retry_after})


def in_seconds(seconds: float) -> str:
    """Write a date that is so many seconds ahead."""
    return formatdate(CLOCK().wall + seconds, usegmt=True)


class Site:
    """A Graph that gives its answers in turn, with the tokens that it is asked with."""

    def __init__(self, *answers: Reply | UpstreamError) -> None:
        self._answers = list(answers)
        self.tokens: list[str] = []
        self.rejected: list[str | None] = []
        self.sleeps: list[float] = []
        self.ids: list[str] = []

    def page(self) -> bytes:
        """Read a page."""
        graph = Graph(
            get_token=self._token, get=self._get, clock=CLOCK, sleep=self._sleep, new_id=lambda: f"id-{len(self.ids)}"
        )
        return asyncio.run(graph.page(LINK))

    async def _token(self, *, rejected: str | None) -> Acquired:
        self.rejected.append(rejected)
        count = len(set(self.rejected))
        token = AccessToken(f"token-{count}", CLOCK(), lifetime=3_600, refresh_after=1_800)
        return Acquired(token, TokenSource.CACHE)

    async def _get(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        assert (url, headers["x-ms-throttle-priority"]) == (LINK, "low")
        self.tokens.append(headers["authorization"].removeprefix("Bearer "))
        self.ids.append(headers["client-request-id"])
        answer = self._answers.pop(0)
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


@pytest.mark.parametrize(
    ("answers", "sleeps"),
    [
        ([PAGE], []),
        ([busy("7"), busy("7"), PAGE], [7, 7]),
        ([busy(in_seconds(30)), PAGE], [30]),
        ([busy(in_seconds(60), status=503), PAGE], [60]),
        ([busy(in_seconds(-60)), PAGE], [1]),
        ([busy("soon"), PAGE], [1]),
        ([Reply(503, b""), Reply(500, b""), Reply(429, b""), PAGE], [1, 2, 4]),
        ([Unavailable(), TimedOut(), PAGE], [1, 2]),
    ],
    ids=["at once", "seconds", "a date", "the longest wait", "a date that is over", "nonsense", "failures", "network"],
)
def test_a_passing_failure_is_waited_out(answers: list[Reply | UpstreamError], sleeps: list[float]) -> None:
    """REL-39: as long as Graph says, by the wall clock where it names a date, and else 1, 2 and 4 seconds."""
    site = Site(*answers)
    assert site.page() == b"a page"
    assert site.sleeps == pytest.approx(sleeps)
    assert len(set(site.ids)) == len(answers)


@pytest.mark.parametrize(
    ("answers", "error", "cause"),
    [
        ([Reply(503, b"CANARY")] * 4, Unavailable, "Graph: HTTP 503"),
        ([busy("61")], Unavailable, "Graph: HTTP 429"),
        ([busy(in_seconds(61))], Unavailable, "Graph: HTTP 429"),
        ([Reply(404, b"CANARY")], OperatorError, "Graph: HTTP 404"),
        ([Reply(403, b"CANARY")], OperatorError, "Graph: HTTP 403"),
        ([Reply(401, b"CANARY")] * 2, OperatorError, "Graph: HTTP 401"),
        ([Reply(302, b"CANARY", {"location": "https://evil.example"})], OperatorError, "Graph: HTTP 302"),
        ([BadAnswer(cause="Graph: answer too large")], BadAnswer, "Graph: answer too large"),
    ],
    ids=["away", "a long wait", "a late date", "404", "403", "401 twice", "redirect", "too large"],
)
def test_a_run_ends_where_waiting_is_no_use(
    answers: list[Reply | UpstreamError], error: type[UpstreamError], cause: str
) -> None:
    """REL-39, SEC-12: after four attempts, for a wait of over a minute, and for what the operator must mend."""
    site = Site(*answers)
    with pytest.raises(error) as caught:
        site.page()
    assert caught.value.cause == cause
    assert len(site.tokens) == len(answers)


def test_a_rejected_token_is_replaced_once() -> None:
    """REL-42: the next request has another token, and costs no attempt and no wait."""
    site = Site(Reply(401, b""), Reply(503, b""), PAGE)
    assert site.page() == b"a page"
    assert site.tokens == ["token-1", "token-2", "token-2"]
    first = AccessToken("token-1", CLOCK(), lifetime=1, refresh_after=1)
    assert site.rejected == [None, first.sha256, first.sha256]
    assert site.sleeps == [1]


@pytest.mark.parametrize(
    "answer", [Reply(410, b"CANARY"), Reply(400, b'{"error": {"code": "syncStateNotFound"}}')], ids=["410", "400"]
)
def test_a_forgotten_link_is_no_failure(answer: Reply) -> None:
    """REL-40: the run starts a new copy."""
    with pytest.raises(ResyncRequired):
        Site(answer).page()
