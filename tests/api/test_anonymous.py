import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.api.routes import FUNCTION_KEY, MANAGED_IDENTITY, OAUTH, Route
from shared.core.request import Incoming
from shared.runtime import build
from shared.telemetry.events import Events
from tests.api.shop import Shop, denied, good, malformed
from tests.clock import FakeClock, fake_system, run_virtual
from tests.contract import event_conforms

# Each is a request of a stranger, and the outcome that it is counted under.
STRANGE: list[tuple[str, Callable[[Incoming], Incoming]]] = [
    ("invalid_client", lambda incoming: replace(incoming, headers={**incoming.headers, "x-identity-header": "u" * 40})),
    ("invalid_client", lambda incoming: replace(incoming, headers={})),
    ("invalid_request", lambda incoming: replace(incoming, method="PATCH")),
    ("invalid_request", lambda incoming: replace(incoming, url=f"{incoming.url}&code=x")),
    ("invalid_request", lambda incoming: replace(incoming, body=b"x" * 20_000)),
]


def test_a_flood_of_strangers_fills_no_log() -> None:
    """SEC-17, FND-B5: a line for 60 a minute whatever is wrong, then a count by outcome, though nobody asks again."""
    shop = Shop(Shop.token)

    async def flood() -> None:
        assert (await shop.vendor.answer(FUNCTION_KEY, good(FUNCTION_KEY))).status == 200
        shop.lines.clear()
        for _ in range(2_000):
            for outcome, spoil in STRANGE:
                answer = await shop.vendor.answer(MANAGED_IDENTITY, spoil(good(MANAGED_IDENTITY)))
                assert json.loads(answer.body)["error"] == outcome
        assert len(shop.lines) == 60
        await asyncio.sleep(60)
        assert len(shop.lines) == 60  # the host would drop what is written outside of an invocation
        shop.events.flush()  # as a probe does
        counts = {event["outcome"]: event["count"] for event in events("requests_unlogged")}
        assert counts == {"invalid_client": 4_000 - 24, "invalid_request": 6_000 - 36}
        assert len(shop.lines) == 62
        await asyncio.sleep(60)
        assert (await shop.vendor.answer(MANAGED_IDENTITY, good(MANAGED_IDENTITY))).status == 200
        assert len(shop.lines) == 63
        for _ in range(61):  # another flood, a minute later, by the same rules
            await shop.vendor.answer(MANAGED_IDENTITY, replace(good(MANAGED_IDENTITY), method="PATCH"))
        await asyncio.sleep(60)
        assert (await shop.vendor.answer(MANAGED_IDENTITY, good(MANAGED_IDENTITY))).status == 200
        assert [event["count"] for event in events("requests_unlogged")[2:]] == [1]

    def events(name: str) -> list[dict[str, Any]]:
        return [event for event in map(json.loads, shop.lines) if event["event"] == name]

    run_virtual(flood, shop.clock)
    assert [fault for line in shop.lines for fault in event_conforms(line)] == []


@pytest.mark.parametrize("route", [MANAGED_IDENTITY, OAUTH], ids=["msi", "oauth2"])
def test_a_flood_at_a_route_that_is_switched_off_fills_no_log(route: Route) -> None:
    """FND-B5: anybody can ask there too."""
    shop = Shop(Shop.token, app_checked_routes=False)

    async def flood() -> None:
        for _ in range(1_000):
            assert (await shop.vendor.answer(route, good(route))).status == 403

    asyncio.run(flood())
    assert len(shop.lines) == 60


def test_a_flood_costs_the_known_callers_no_line() -> None:
    """FND-B5: each answer to a caller has its event, a refusal too, and each on the route that the host guards."""
    shop = Shop(Shop.token)

    async def flood() -> None:
        for _ in range(100):
            await shop.vendor.answer(OAUTH, good(OAUTH, key="u" * 40))
        shop.lines.clear()
        for route in (OAUTH, MANAGED_IDENTITY):
            for incoming in (good(route), denied(good(route)), malformed(good(route))):
                await shop.vendor.answer(route, incoming)
        await shop.vendor.answer(FUNCTION_KEY, good(FUNCTION_KEY, key="u" * 40))

    asyncio.run(flood())
    assert [json.loads(line)["status"] for line in shop.lines] == [200, 400, 400, 200, 400, 400, 401]


def test_a_flood_at_an_app_without_settings_fills_no_log(tmp_path: Path) -> None:
    """FND-B5: a mistake in the settings closes no route."""
    lines: list[str] = []
    clock = FakeClock()
    events = Events(lines.append, wall=clock.wall, worker="w")
    runtime = build({}, root=tmp_path, events=events, system=fake_system(clock))

    async def flood() -> None:
        for _ in range(1_000):
            assert (await runtime.routes[OAUTH.name](good(OAUTH))).status == 503
        assert len(lines) == 1 + 60
        assert (await runtime.routes[FUNCTION_KEY.name](good(FUNCTION_KEY))).status == 503
        assert len(lines) == 1 + 60 + 1  # the host has checked that key
        await asyncio.sleep(60)
        assert (await runtime.routes[FUNCTION_KEY.name](good(FUNCTION_KEY))).status == 503

    run_virtual(flood, clock)
    counted, answered = map(json.loads, lines[62:])
    assert (counted["outcome"], counted["count"]) == ("temporarily_unavailable", 940)
    assert (answered["event"], answered["route"]) == ("token", "token")
