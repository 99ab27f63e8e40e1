"""The app's own identity as the wiring makes it: how failures are repeated, and how long they are remembered."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import IDENTITY_CLIENT_ID
from shared.adapters.http import Network, client_tls
from shared.core.documents.settings import Settings
from shared.core.entra.clouds import STORAGE_SCOPE
from shared.core.errors import Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.system import System
from shared.telemetry.events import Events
from shared.wiring.identity import FAILURE_MAX_SECONDS, OwnIdentity, build_identity
from tests.clock import FakeClock, fake_system
from tests.in_process import suffering

VAULT_SCOPE = "https://vault.azure.net/.default"
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
                await identity.tokens_for(STORAGE_SCOPE)(None)
            assert caught.value.wait is not None
            assert caught.value.wait.total_seconds() == pytest.approx(wait)
            clock.tick(wait)
        await network.aclose()

    asyncio.run(story())
    assert max(waits) <= FAILURE_MAX_SECONDS
    assert slept == [1.0]


@asynccontextmanager
async def identity_of(cloud: LocalCloud, system: System) -> AsyncIterator[OwnIdentity]:
    """Make the identity of an app in a local cloud."""
    limits = Limits()
    network = Network(tls=client_tls(""), proxy="", limits=limits)
    try:
        yield build_identity(
            Settings(profiles={}, limits=limits, identity_client_id=IDENTITY_CLIENT_ID),
            {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header},
            network=network,
            system=system,
            events=Events(lambda _: None, wall=system.clock.wall, worker="w"),
        )
    finally:
        await network.aclose()


@pytest.mark.parametrize(
    ("answers", "second_attempts"),
    [
        ([(STORAGE_SCOPE, 503), (STORAGE_SCOPE, 503)], 1),
        ([(STORAGE_SCOPE, 400), (STORAGE_SCOPE, 503)], 1),
        ([(STORAGE_SCOPE, 503), (STORAGE_SCOPE, 200), (STORAGE_SCOPE, 503)], 2),
        ([(STORAGE_SCOPE, 503), (STORAGE_SCOPE, 400), (STORAGE_SCOPE, 503)], 2),
        ([(STORAGE_SCOPE, 503), (VAULT_SCOPE, 503)], 2),
    ],
    ids=["an outage", "a refusal before", "a token between", "a refusal between", "another scope"],
)
def test_an_outage_is_asked_about_once(
    answers: Sequence[tuple[str, int]], second_attempts: int, timeless: LocalCloud, fake_clock: FakeClock
) -> None:
    """What may pass is tried twice, unless the last flight for this scope ended in it; a refusal is no outage."""
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def story() -> None:
        async with identity_of(timeless, fake_system(fake_clock, sleep=sleep)) as identity:
            for scope, status in answers:
                end = str(int(fake_clock.wall()) + 60)
                token = {"access_token": "a-token", "expires_on": end} if status == 200 else {}
                fault = Fault(kind=Kind.STATUS, status=status, body=json.dumps(token))
                with suffering(timeless.faults["identity"], fault), suppress(UpstreamError):
                    await identity.tokens_for(scope)(None)
                fake_clock.tick(120)

    asyncio.run(story())
    assert len(slept) == second_attempts


def test_a_wait_that_the_identity_names_is_not_believed_for_longer(timeless: LocalCloud, fake_clock: FakeClock) -> None:
    """One answer with a Retry-After of a day does not leave the app without documents and signatures for an hour."""
    fault = Fault(kind=Kind.STATUS, status=503, headers={"retry-after": "86400"})

    async def story() -> None:
        async with identity_of(timeless, fake_system(fake_clock)) as identity:
            with suffering(timeless.faults["identity"], fault), pytest.raises(Unavailable):
                await identity.tokens_for(STORAGE_SCOPE)(None)
            fake_clock.tick(FAILURE_MAX_SECONDS)
            assert (await identity.tokens_for(STORAGE_SCOPE)(None)).secret

    asyncio.run(story())
