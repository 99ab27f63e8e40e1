"""The app's own identity as the wiring makes it: how failures are repeated, and how long they are remembered."""

import asyncio
from dataclasses import replace

import pytest

from shared.adapters.http import Network, client_tls
from shared.core.documents.settings import Settings
from shared.core.errors import Unavailable
from shared.core.limits import Limits
from shared.telemetry.events import Events
from shared.wiring.identity import FAILURE_MAX_SECONDS, build_identity
from tests.clock import FakeClock, fake_system

# Nobody listens there.
AWAY = {"IDENTITY_ENDPOINT": "http://127.0.0.1:9/msi/token", "IDENTITY_HEADER": "a secret"}


@pytest.mark.parametrize(
    ("first", "waits"), [(5, [5, 7.5, 11.25, 16.875]), (20, [20, 30, 45, 60]), (100, [60, 60, 60, 60])]
)
def test_a_failure_of_the_identity_is_remembered_for_a_minute_at_most(
    first: float, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its waits and those of the flights that need it add up; only the first failure was tried twice."""
    for name, value in AWAY.items():  # azure-identity reads them by itself
        monkeypatch.setenv(name, value)
    clock, slept = FakeClock(), list[float]()
    limits = replace(Limits(), failure_first_seconds=first)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def story() -> None:
        network = Network(tls=client_tls(""), proxy="", limits=limits)
        identity = build_identity(
            Settings(profiles={}, limits=limits),
            AWAY,
            network=network,
            system=fake_system(clock, sleep=sleep),
            events=Events(lambda _: None, wall=clock.wall, worker="w"),
        )
        for wait in waits:
            with pytest.raises(Unavailable) as caught:
                await identity.storage_token(None)
            assert caught.value.wait is not None
            assert caught.value.wait.total_seconds() == pytest.approx(wait)
            clock.tick(wait)
        await network.aclose()

    asyncio.run(story())
    assert max(waits) <= FAILURE_MAX_SECONDS
    assert slept == [1.0]
