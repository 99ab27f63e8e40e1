"""Waiting until a new key opens the app."""

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cli.acceptance import LONGEST_SECONDS, await_acceptance
from cli.patience import Patience
from emulator.network.serve import HOST, listening_socket
from tests.cli.conftest import KEY, Serve
from tests.emulator.client import Clock

APP = (400, '{"error": "invalid_request", "correlation_id": "c-1"}')
HOST_REFUSES = (401, "")
VEND_REFUSES = (401, '{"error": "invalid_client", "correlation_id": "c-1"}')
NOT_READY = (503, '{"error": "temporarily_unavailable", "correlation_id": "c-1"}')


class Script:
    """Answers in a given order, and with the last one from then on."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.left = list(answers)
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.asked += 1
        status, body = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        await Response(body, status)(scope, receive, send)


@pytest.mark.parametrize(
    ("answers", "asked", "says"),
    [
        ([HOST_REFUSES, HOST_REFUSES, VEND_REFUSES, APP], 4, ""),
        ([NOT_READY, APP], 2, ""),
        ([NOT_READY], LONGEST_SECONDS // 2 + 1, "vend answers 503. It was still so after 90 s."),
        ([HOST_REFUSES], LONGEST_SECONDS // 2 + 1, "The host does not know the key. It was still so after 90 s."),
        ([VEND_REFUSES], LONGEST_SECONDS // 2 + 1, "vend does not know the key. It was still so after 90 s."),
        ([(403, "<html>Ip Forbidden")], 1, "A proxy or gateway in front of the app answers 403 from here."),
        ([(503, ""), (429, ""), APP], 3, ""),
        ([(200, "[]")], 1, "A proxy or gateway in front of the app answers 200 from here."),
    ],
    ids=["in a while", "not ready yet", "not ready", "never", "never by vend", "a firewall", "busy", "somebody else"],
)
def test_a_key_works_once_the_app_knows_it(serve: Serve, answers: list[tuple[int, str]], asked: int, says: str) -> None:
    """Both 401 may pass: that of the host, which has no body, and that of vend. Other refusals lie behind both."""
    script, clock = Script(*answers), Clock(0.0)

    def sleep(seconds: float) -> None:
        clock.moment += seconds

    found = await_acceptance(serve(script), {"reports": KEY}, patience=Patience(clock, sleep))
    assert found == ({"reports": says} if says else {})
    assert script.asked == asked


def test_where_nobody_answers_waiting_is_in_vain() -> None:
    """It is said at once who did not answer."""
    with listening_socket() as taken:
        url = f"http://{HOST}:{taken.getsockname()[1]}"
        found = await_acceptance(url, {"reports": KEY}, patience=Patience())
        assert found["reports"].startswith(f"Nobody answers at {url}: ")
