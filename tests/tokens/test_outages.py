"""What takes hours or several workers: time is the fake clock's, and every call goes over a real socket."""

import asyncio
import json
import math
import random
from collections.abc import Callable
from datetime import datetime
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import jwt
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import Api
from emulator.network.faults import Fault, Kind
from shared.api.routes import MANAGED_IDENTITY
from tests.clock import FakeClock
from tests.in_process import GRAPH_SCOPE, ORDERS_SCOPE, App, Told, suffering

pytestmark = pytest.mark.slow

MINUTE = 60
DOWN = Fault(kind=Kind.STATUS, status=503)


def add_apis(cloud: LocalCloud, count: int, *, name: str) -> tuple[str, ...]:
    """Make APIs known and return their scopes."""
    uris = [f"api://{name}-{number}" for number in range(count)]
    for uri in uris:
        cloud.directory.add_api(Api(uri.removeprefix("api://"), name=uri, identifier_uris=frozenset({uri})))
    return tuple(f"{uri}/.default" for uri in uris)


def assert_waits_were_kept(app: App) -> None:
    """No key flies again before the wait that its last failure named."""
    failures = app.everything("acquire_failed")
    for scope in {event["scope"] for event in failures}:
        mine = [event for event in failures if event["scope"] == scope]
        for one, other in pairwise(mine):
            apart = datetime.fromisoformat(other["time"]) - datetime.fromisoformat(one["time"])
            assert apart.total_seconds() >= one["retry_seconds"] - 0.1
            assert one["retry_seconds"] <= 240


def test_a_refused_answer_names_the_flight_that_failed(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """FND-D7: who has a correlation id finds the failure and Entra's sign-in log, and so does who comes later."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            assert (await app.ask(GRAPH_SCOPE)).status == 200
            with suffering(timeless.faults["entra"], DOWN):
                assert [(await app.ask(ORDERS_SCOPE)).status for _ in range(2)] == [503, 503]
            (failed,) = app.everything("acquire_failed")
            assert [event.get("flight_id") for event in app.everything("token")] == [None, *[failed["flight_id"]] * 2]

    asyncio.run(story())


def test_a_vault_outside_of_the_cloud_is_a_refusal_with_its_cause(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """FND-D3. The app starts, as another profile may be served; no token of its own leaves for the wrong address."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, vault="https://v.vaultcore.azure.net") as app:
            assert (await app.ask()).status == 502
            (failed,) = app.everything("acquire_failed")
            assert failed["cause"] == "Key Vault: the vault's address is not in the cloud's vault domain"

    asyncio.run(story())


def test_a_failure_of_the_identity_is_one_event_of_its_own(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Two keys fail by one failure of the identity: one event about the identity, and one about each key."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            with suffering(timeless.faults["identity"], Fault(kind=Kind.STATUS, status=403)):
                assert [(await app.ask(scope)).status for scope in (GRAPH_SCOPE, ORDERS_SCOPE)] == [502, 502]
            (failed,) = app.everything("identity_failed")
            assert (failed["cause"], failed["retry_seconds"]) == (
                "managed identity: HTTP 403",
                pytest.approx(60, abs=6),
            )
            keys = [(event["profile"], event["cause"]) for event in app.everything("acquire_failed")]
            assert keys == 2 * [("graph", "managed identity: HTTP 403")]

    asyncio.run(story())


@pytest.mark.parametrize(("part", "status"), [("identity", 500), ("vault", 429)])
def test_one_failure_of_a_proof_reaches_nobody(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, part: str, status: int
) -> None:
    """The vault and the app's own identity are asked a second time, as Entra is: neither has named a wait."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            with suffering(timeless.faults[part], Fault(kind=Kind.STATUS, status=status, times=1)):
                assert (await app.ask()).status == 200
            assert app.everything("acquire_failed") == app.everything("identity_failed") == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("part", "name", "asked"),
    [("entra", "Entra", 2), ("vault", "Key Vault", 2), ("identity", "managed identity", 1)],
    ids=["entra", "vault", "identity"],
)
def test_a_wait_that_a_service_names_is_kept_to(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, part: str, name: str, asked: int
) -> None:
    """REL-04: the callers of that token get the rest of it. For another token the service is asked all the same.

    The endpoint of the app's own identity is not: its token is one for all of them.
    """
    switch = timeless.faults[part]
    busy = Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "60"})

    async def refused(app: App, *, least: int) -> None:
        told = await app.ask()
        assert told.status == 503
        assert least <= int(told.headers["Retry-After"]) <= math.ceil(least * 1.1)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            with suffering(switch, busy):
                before = switch.taken
                await refused(app, least=60)
                fake_clock.tick(50)
                await refused(app, least=10)
                assert switch.taken - before == 1
                assert (await app.ask(ORDERS_SCOPE)).status == 503
                assert switch.taken - before == asked
            causes = {event["cause"] for event in app.everything("acquire_failed")}
            assert causes == {f"{name}: HTTP 429"}
            fake_clock.tick(11)
            assert (await app.ask()).status == 200

    asyncio.run(story())


def test_half_an_hour_without_the_identity_is_noticed_by_fresh_workers_alone(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-65: a warm worker has no need of it, for new keys either; a fresh one names it, and asks once a minute."""
    scopes = add_apis(timeless, 30, name="without-identity")
    folders = [tmp_path / name for name in ("warm", "fresh")]
    for folder in folders:
        folder.mkdir()
    identity = timeless.faults["identity"]

    async def story() -> None:
        async with (
            App(timeless, fake_clock, folders[0], scopes=scopes) as warm,
            App(timeless, fake_clock, folders[1], scopes=scopes) as fresh,
        ):
            assert (await warm.ask(scopes[0])).status == 200
            with suffering(identity, DOWN):
                began, asked = fake_clock().boot, []
                for second in range(0, 30 * MINUTE, 5):
                    before = identity.taken
                    if second % MINUTE == 0:
                        new = scopes[second // MINUTE]
                        assert [(await warm.ask(scope)).status for scope in (scopes[0], new)] == [200, 200]
                        await warm.landed()
                        assert identity.taken == before
                    told = await fresh.ask(scopes[second // 5 % len(scopes)])
                    await fresh.landed()
                    assert (told.status, 1 <= (told.wait or 0) <= 240) == (503, True)
                    asked += [fake_clock().boot - began] * (identity.taken - before)
                    fake_clock.tick(5)
            assert {event["cause"] for event in fresh.everything("acquire_failed")} == {"managed identity: HTTP 503"}
            assert warm.everything("acquire_failed") == []
            # The first flight asks twice; then the failure memory grows from 5 s to a minute, less a tenth at most.
            late = [one for one in asked if one >= 5 * MINUTE]
            assert (len(asked) - len(late) <= 12, len(late) >= 20) == (True, True)
            assert all(other - one >= 0.9 * MINUTE for one, other in pairwise(late))
            fake_clock.tick(240)
            assert (await fresh.ask(scopes[0])).status == 200

    asyncio.run(story())


def test_half_an_hour_without_entra_is_noticed_by_nobody(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-17: a key that is asked for every two minutes is served all the time, whatever its age when it begins."""
    scopes = add_apis(timeless, 15, name="half-an-hour")

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=scopes) as app:

            async def round_of_asking(known: int) -> None:
                told = [await app.ask(scope) for scope in scopes[:known]]
                await app.landed()
                assert {answer.status for answer in told} == {200}
                fake_clock.tick(2 * MINUTE)

            for known in range(1, len(scopes) + 1):  # so that their ages are two minutes apart
                await round_of_asking(known)
            with suffering(timeless.faults["entra"], DOWN):
                for _ in range(15):
                    await round_of_asking(len(scopes))
            assert len(app.everything("acquire_failed")) >= len(scopes)
            assert_waits_were_kept(app)

    asyncio.run(story())


def test_a_longer_outage_is_served_to_the_last_minute(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-18: a token is served until a minute before its end, then 503 says when to come again; soon all is well."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            expiry = fake_clock().wall + (await app.ask()).body["expires_in"]
            told: list[Told] = []

            async def ask_on() -> Told:
                fake_clock.tick(30)
                answer = await app.ask()
                await app.landed()
                return answer

            with suffering(timeless.faults["entra"], DOWN):
                for _ in range(2 * 75):
                    left = expiry + 10 - fake_clock().wall - 30
                    told.append(await ask_on())
                    assert told[-1].status == (200 if left >= 60 else 503), left
            assert all(1 <= (answer.wait or 0) <= 240 for answer in told if answer.status == 503)
            assert_waits_were_kept(app)
            assert app.everything("acquire_failed")[-1]["retry_seconds"] > 0.9 * 240 - 1  # it asks less and less often
            recovery = [(await ask_on()).status for _ in range(9)]  # 240 s and one interval
            assert recovery[-1] == 200
            assert recovery == sorted(recovery, reverse=True)

    asyncio.run(story())


def test_flapping_is_noticed_by_few_and_not_for_long(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-19: if every second attempt fails, a warm key notices nothing, and who waits as told is served in 120 s."""
    scopes = add_apis(timeless, 120, name="flapping")
    chance = random.Random(19)  # noqa: S311  # not for cryptography
    entra = timeless.faults["entra"]

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(*scopes, GRAPH_SCOPE)) as app:

            async def ask(scope: str) -> Told:
                before = entra.taken + len(timeless.entra.requests)
                failing = chance.choice([0, 0, 1, 2])  # attempts, each of which fails as often as not
                if failing:
                    entra.set(Fault(kind=Kind.STATUS, status=500, times=failing))
                answer = await app.ask(scope)
                await app.landed()
                entra.clear()
                assert entra.taken + len(timeless.entra.requests) - before <= 2
                return answer

            first = []
            for scope in scopes:
                answer = await ask(scope)
                first.append(answer.status)
                began = fake_clock().boot
                while answer.status != 200:
                    fake_clock.tick(answer.wait or 0)
                    answer = await ask(scope)
                assert fake_clock().boot - began <= 120
            assert first.count(200) >= 0.7 * len(first)

            while (await ask(GRAPH_SCOPE)).status != 200:
                fake_clock.tick(MINUTE)
            for _ in range(60):
                fake_clock.tick(MINUTE)
                assert (await ask(GRAPH_SCOPE)).status == 200

    asyncio.run(story())


@pytest.mark.parametrize(
    ("move", "seconds", "status", "calls"),
    [
        (FakeClock.jump, 600, 200, 0),
        (FakeClock.jump, -600, 200, 0),
        (FakeClock.tick, 7_200, 200, 1),
        (FakeClock.suspend, 7_200, 200, 2),  # Entra refuses an assertion of two hours ago; the next has Entra's time
    ],
    ids=["ten minutes ahead", "ten minutes back", "two hours asleep", "two hours asleep and not noticed"],
)
def test_a_clock_that_lies_makes_no_dead_token_live(
    timeless: LocalCloud,
    fake_clock: FakeClock,
    tmp_path: Path,
    move: Callable[[FakeClock, float], None],
    seconds: float,
    status: int,
    calls: int,
) -> None:
    """REL-36: nothing is served that is over by Entra's clock, and ten who ask at once make one flight at the most."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            await app.ask()
            before = len(timeless.entra.requests)
            move(fake_clock, seconds)
            try:
                told = await asyncio.gather(*(app.ask() for _ in range(10)))
            finally:
                if move is not FakeClock.tick:
                    fake_clock.jump(-seconds if move is FakeClock.jump else seconds)  # somebody sets the clock
            assert {answer.status for answer in told} == {status}
            assert len(timeless.entra.requests) - before == calls
            for answer in told:
                if answer.status == 200:
                    claims = jwt.decode(answer.body["access_token"], options={"verify_signature": False})
                    assert claims["exp"] > timeless.directory.now()
            fake_clock.tick(MINUTE)
            assert (await app.ask()).status == 200

    asyncio.run(story())


@pytest.mark.parametrize("ahead", [-250.0, 0.0, 900.0])
def test_no_caller_is_told_a_later_end_than_that_of_its_token(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, ahead: float
) -> None:
    """REL-36: however wrong the clock of the worker is, and whoever mends it; managed-identity clients read no more."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings="app_checked_routes = true") as app:
            fake_clock.jump(ahead)
            told = [await app.ask(), await app.ask(route=MANAGED_IDENTITY)]
            fake_clock.jump(-ahead)
            told.append(await app.ask())
            claims = jwt.decode(told[0].body["access_token"], options={"verify_signature": False})
            ends = [int(each.body["expires_on"]) for each in told]
            assert all(claims["exp"] - 15 - max(-ahead, 0) <= end < claims["exp"] for end in ends)
            assert all(event["expires_on"] <= claims["exp"] for event in app.everything("token"))

    asyncio.run(story())


@pytest.mark.parametrize("ahead", [-250.0, 0.0, 900.0])
def test_a_wait_that_ends_at_a_date_is_as_long_as_upstream_means(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, ahead: float
) -> None:
    """REL-05: both dates of an answer are of the same clock, so that a wrong one of ours neither hammers nor waits."""
    until = formatdate(timeless.directory.now() + 120, usegmt=True)
    busy = Fault(kind=Kind.STATUS, status=429, headers={"Retry-After": until})

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            fake_clock.jump(ahead)
            try:
                with suffering(timeless.faults["entra"], busy):
                    told = await app.ask()
            finally:
                fake_clock.jump(-ahead)
            assert told.wait is not None
            assert 118 <= told.wait <= 132

    asyncio.run(story())


def test_every_worker_has_a_cache_of_its_own(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-46: as many calls as workers, however many callers each of them has."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()

    async def story() -> None:
        async with App(timeless, fake_clock, folders[0]) as one, App(timeless, fake_clock, folders[1]) as other:
            before = len(timeless.entra.requests)
            told = await asyncio.gather(*(app.ask() for app in (one, other) for _ in range(20)))
            assert {answer.status for answer in told} == {200}
            assert len({answer.body["access_token"] for answer in told}) == 2
            assert len(timeless.entra.requests) - before == 2

    asyncio.run(story())


def test_the_kill_switch_reaches_every_worker(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """SEC-22: half a minute after `generation` was raised, the answer of every worker is a token from after it."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as one, App(timeless, fake_clock, tmp_path) as other:
            old = {(await app.ask()).body["access_token"] for app in (one, other)}
            callers = tmp_path / "callers.toml"
            callers.write_text(callers.read_text().replace("generation = 1", "generation = 2"))
            fake_clock.tick(30)
            told = [await app.ask() for app in (one, other)]
            assert {answer.body["token_source"] for answer in told} == {"identity_provider"}
            assert not old & {answer.body["access_token"] for answer in told}

    asyncio.run(story())


def test_a_challenge_is_taken_to_entra(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """SEC-22, SEC-31: `claims` passes the cache by, with one call; the token that answers them is kept nowhere."""
    asked = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            await app.ask()
            before = len(timeless.entra.requests)
            told, later = await app.ask(claims=asked), await app.ask()
            assert (told.status, told.body["token_source"], later.body["token_source"]) == (
                200,
                "identity_provider",
                "cache",
            )
            assert "acrs" not in jwt.decode(later.body["access_token"], options={"verify_signature": False})
            assert [json.loads(seen.claims) for seen in timeless.entra.requests[before:]] == [json.loads(asked)]
            assert jwt.decode(told.body["access_token"], options={"verify_signature": False})["acrs"] == ["c1"]

    asyncio.run(story())


def test_a_vault_that_hangs_holds_up_nobody_who_has_a_token(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """REL-47: while calls to the vault are stuck, a kept token is served, and who has none is told so in time."""
    settings = "limits.caller_budget_seconds = 0.3\nlimits.short_wait_seconds = 0.1\n"
    vault = timeless.faults["vault"]

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=settings) as app:
            while (await app.ask()).status != 200:  # the first one of a process imports the SDKs
                fake_clock.tick(MINUTE)
            fake_clock.tick(30 * MINUTE)  # the assertion is over, and the token is due for its refresh
            with suffering(vault, Fault(kind=Kind.HOLD)):
                warm, cold = await app.ask(), await app.ask(ORDERS_SCOPE)
                assert (warm.status, warm.body["token_source"], cold.status) == (200, "cache", 504)
                assert vault.waiting == 1
            await app.landed()

    asyncio.run(story())


def test_who_started_a_flight_may_go(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-49: a caller that goes away takes nothing with it: the others are served by its flight."""
    entra = timeless.faults["entra"]

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            await app.ask(ORDERS_SCOPE)
            before = len(timeless.entra.requests)
            with suffering(entra, Fault(kind=Kind.HOLD)):
                leader, follower = asyncio.create_task(app.ask()), asyncio.create_task(app.ask())
                await asyncio.to_thread(entra.wait_for, 1)
                leader.cancel()
                await asyncio.wait([leader])
            assert ((await follower).status, leader.cancelled()) == (200, True)
            assert len(timeless.entra.requests) - before == 1

    asyncio.run(story())
