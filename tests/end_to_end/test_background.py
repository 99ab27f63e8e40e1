"""What happens between invocations, behind a host that drops every line of an invocation that has ended."""

from collections.abc import Callable, Mapping

import pytest

from emulator.network.faults import Fault, Kind
from tests.end_to_end.conftest import Resident

pytestmark = pytest.mark.slow

# A token that lives for three seconds is due for its refresh after one and a half of them, and served until its end.
LIFETIME = 4  # of which Entra tells one second less
LIMITS = {
    "min_remaining_seconds": 0.2,
    "min_remaining_failing_seconds": 0.1,
    "expiry_margin_seconds": 0.05,
    "failure_first_seconds": 0.001,
    "failure_max_seconds": 0.001,
}


def test_no_event_is_lost_between_invocations(resident: Callable[[Mapping[str, float]], Resident]) -> None:
    """Decision on events: a refresh that fails when its invocation has ended is told within the next one, once."""
    app = resident(LIMITS)
    app.cloud.entra.token_lifetime = LIFETIME

    def events() -> list[Mapping[str, object]]:
        """List the events, without those of a sync: its timer may fire meanwhile."""
        return [
            each for each in app.events if each["event"] in {"token", "acquire_failed"} and each["profile"] == "graph"
        ]

    async def story() -> None:
        assert await app.invoke() == 200
        app.cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503, headers={"retry-after": "1"}))
        await app.until(lambda: app.tokens.entries()[0].age > 1.6)
        assert await app.invoke() == 200
        await app.until(lambda: app.tokens.counters.failures == 1)
        assert [event["event"] for event in events()] == ["token", "token"]
        assert await app.invoke() == 200

    app.run(story())
    assert [event["event"] for event in events()] == ["token", "token", "acquire_failed", "token"]
    assert events()[2]["cause"] == "Entra: HTTP 503"
    assert app.host.dropped_lines == 0
