"""`POST /api/sync`, when the timer finds a stream due, and what readiness says of the copy."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, CLIENT_ID, TENANT_ID
from tests.adapters.database.directory_copy import OTHER_TENANT
from tests.clock import FakeClock
from tests.in_process import KEY, App, callers_document, suffering

OTHER_KEY = "a-function-key-of-reports"
TICK, INTERVAL_SECONDS, DAY = 60.0, 900.0, 86_400.0

type Story = Callable[[App, Callable[[], int]], Awaitable[None]]


class RunStory(Protocol):
    """Runs a story with an app that syncs users and groups."""

    def __call__(self, story: Story, *, tenants: Sequence[str] = (TENANT_ID,)) -> None:
        """Run it over the tenants of the profile; the copy is that of the story before."""


@pytest.fixture
def timely(fake_clock: FakeClock, tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud with a small tenant, whose users and groups may be read; its time is that of the test."""
    with LocalCloud(tmp_path, now=fake_clock.wall, users=20) as running:
        principal = running.directory.service_principal(CLIENT_ID, tenant_id=TENANT_ID)
        assert principal
        roles = frozenset({"User.Read.All", "GroupMember.Read.All"})
        running.directory.grant(principal.object_id, resource="https://graph.microsoft.com", roles=roles)
        yield running


@pytest.fixture
def run(timely: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> RunStory:
    """Run a story with an app that syncs users; the story is told how many pages Graph was asked for."""
    credential = f'{{ type = "certificate", vault = "{timely.vault_url}", name = "{CERTIFICATE}" }}'
    lines = f"""
profiles.directory.client_id = "{CLIENT_ID}"
profiles.directory.scopes = ["{timely.graph_url}/.default"]
profiles.directory.vendable = false
profiles.directory.credentials = [{credential}]
sync.profile = "directory"
sync.interval_minutes = 15
sync.streams = ["users", "groups"]
sync.store = {json.dumps(f"sqlite:///{tmp_path}/directory.db")}
"""

    def run_story(story: Story, *, tenants: Sequence[str] = (TENANT_ID,)) -> None:
        settings = f"{lines}profiles.directory.tenants = {json.dumps(tenants)}\n"

        async def whole() -> None:
            async with App(timely, fake_clock, tmp_path, settings=settings) as app:
                document = callers_document({"billing": KEY, "reports": OTHER_KEY})
                (tmp_path / "callers.toml").write_text(
                    document.replace("[callers.billing]\n", "[callers.billing]\nadmin = true\n")
                )
                await story(app, lambda: len(timely.graph.requests))

        asyncio.run(whole())

    return run_story


async def tick(app: App, *, seconds: float = TICK) -> list[str]:
    """Let time pass, fire the timer, and list the streams that ran."""
    return sorted(event["stream"] for event in await app.sync(later=seconds))


async def directory(app: App) -> tuple[str, str]:
    """Return what readiness says of the copy, a minute later."""
    app.clock.tick(TICK)
    (check,) = [check for check in (await app.probe()).body["checks"] if check["name"] == "directory"]
    return check["state"], check["detail"]


def test_an_administrator_runs_it(run: RunStory) -> None:
    """What is not due runs too; the answer tells each stream, and the log who asked."""

    async def story(app: App, _: Callable[[], int]) -> None:
        first = (await app.order()).body
        assert first["complete"] is True
        told = [(each["name"], each["tenant_id"], each["outcome"], each["phase"]) for each in first["streams"]]
        assert told == [(name, TENANT_ID, "complete", "copy") for name in ("users", "groups")]
        assert all(each["rows"] > 0 for each in first["streams"])
        again = (await app.order("?stream=groups")).body["streams"]
        assert [(each["name"], each["phase"], each["rows"]) for each in again] == [("groups", "delta", 0)]
        (copied,) = (await app.order("?stream=users&resync=true&seconds=200")).body["streams"]
        assert (copied["phase"], copied["outcome"], copied["rows"]) == ("copy", "complete", 0)
        asked = [(event["caller"], event.get("stream"), event["resync"]) for event in app.everything("sync_requested")]
        assert asked == [("billing", None, False), ("billing", "groups", False), ("billing", "users", True)]

    run(story)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?seconds=0", 400),
        ("?seconds=201", 400),
        ("?seconds=1.5", 400),
        ("?seconds=%D9%A1", 400),
        ("?stream=devices", 400),
        ("?resync=yes", 400),
        ("?accept=1", 400),
        ("?seconds=5&seconds=6", 400),
        ("?code=x", 400),
        ("?accept_loss=users:objects", 400),
        ("?accept_loss=users:objects:0", 400),
        ("?accept_loss=users:objects:3&stream=groups", 400),
        ("?accept_loss=users:objects:3&resync=true", 400),
        ("?seconds=1", 200),
        ("?seconds=200", 200),
        ("?seconds=5&stream=users&resync=false&accept_loss=", 200),
        ("?seconds=", 200),
    ],
)
def test_an_order_is_read_strictly(run: RunStory, query: str, status: int) -> None:
    """A mistake in the URL runs nothing."""

    async def story(app: App, pages: Callable[[], int]) -> None:
        before = pages()
        assert (await app.order(query)).status == status
        assert (pages() > before) is (status == 200)

    run(story)


def test_nobody_else_runs_it(run: RunStory) -> None:
    """A caller without `admin = true`, an unknown key, another method: nothing runs."""

    async def story(app: App, pages: Callable[[], int]) -> None:
        refusals = [await app.order(key=key) for key in (OTHER_KEY, "a-key-of-nobody-at-all", "")]
        assert [(told.status, told.body["error"]) for told in refusals] == [
            (403, "unauthorized_client"),
            (401, "invalid_client"),
            (401, "invalid_client"),
        ]
        told = await app.order(method="GET")
        assert (told.status, told.headers["Allow"]) == (405, "POST")
        assert pages() == 0

    run(story)


def test_one_run_at_a_time(run: RunStory, timely: LocalCloud) -> None:
    """REL-44: 409 while another run has every stream that was asked for; it can be asked again."""

    async def story(app: App, _: Callable[[], int]) -> None:
        switch = timely.faults["graph"]
        switch.set(Fault(kind=Kind.HOLD))
        first = asyncio.create_task(app.order())
        await asyncio.to_thread(switch.wait_for, 2)
        told = await app.order()
        assert (told.status, told.body["error"], told.body["retryable"]) == (409, "temporarily_unavailable", True)
        assert int(told.headers["Retry-After"]) > 0
        switch.clear()
        assert (await first).body["complete"] is True
        assert (await app.order()).status == 200

    run(story)


def test_the_timer_leaves_at_once_when_nothing_is_due(run: RunStory) -> None:
    """It fires each minute; a stream runs an interval after its last complete round, to the nearest minute."""

    async def story(app: App, pages: Callable[[], int]) -> None:
        assert await tick(app) == ["groups", "users"]
        before = pages()
        assert [await tick(app) for _ in range(14)] == [[]] * 14
        assert pages() == before
        assert await tick(app) == ["groups", "users"]
        assert (await app.order("?stream=users")).status == 200
        app.clock.tick(INTERVAL_SECONDS / 2)
        assert (await app.order("?stream=users")).status == 200
        assert await tick(app, seconds=INTERVAL_SECONDS / 2) == ["groups"]

    run(story)


@pytest.mark.slow
@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (1.0, 1.2)])
def test_a_stream_that_fails_is_left_alone_for_longer_and_longer(
    run: RunStory, timely: LocalCloud, chance: float, share: float
) -> None:
    """The timer's pauses double to an hour, give or take a fifth, so that streams do not keep in step.

    An administrator does not wait for them, and success ends them.
    """

    async def story(app: App, _: Callable[[], int]) -> None:
        app.chance = chance
        with suffering(timely.faults["graph"], Fault(kind=Kind.STATUS, status=403)):
            ran = [minute for minute in range(300) if "users" in await tick(app)]
            pauses = [later - sooner for sooner, later in pairwise(ran)]
            for pause, usual in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60], strict=False):
                assert share * usual <= pause <= share * usual + 1
            failed = (await app.order()).body
            assert [(each["outcome"], each["cause"]) for each in failed["streams"]] == [
                ("failed", "Graph: HTTP 403")
            ] * 2
        assert (await app.order()).body["complete"] is True
        assert await tick(app, seconds=INTERVAL_SECONDS) == ["groups", "users"]

    run(story)


def test_what_a_wrong_clock_wrote_stops_nothing(run: RunStory, timely: LocalCloud) -> None:
    """A worker whose clock is a day ahead runs, or fails. A day is a long time for a copy that no timer runs."""

    async def story(app: App, _: Callable[[], int]) -> None:
        assert await tick(app) == ["groups", "users"]
        app.clock.jump(DAY)
        assert await tick(app) == ["groups", "users"]
        app.clock.jump(-DAY)
        state, detail = await directory(app)
        assert (state, detail.count("the last complete round ended in the future")) == ("degraded", 2)
        assert await tick(app) == ["groups", "users"]
        assert (await directory(app))[0] == "ok"
        app.clock.jump(DAY)
        with suffering(timely.faults["graph"], Fault(kind=Kind.STATUS, status=403)):
            assert await tick(app) == ["groups", "users"]
        app.clock.jump(-DAY)
        assert await tick(app, seconds=INTERVAL_SECONDS) == ["groups", "users"]
        assert (await directory(app))[0] == "ok"

    run(story)


def test_readiness_tells_where_the_copy_stands(run: RunStory, timely: LocalCloud) -> None:
    """FND-D10: freshness is read from the store, because the timer runs elsewhere; vending goes on."""
    late = 2 * INTERVAL_SECONDS + 600

    async def story(app: App, _: Callable[[], int]) -> None:
        assert await directory(app) == ("degraded", "users: no run has begun; groups: no run has begun")
        await app.order()
        assert await directory(app) == ("ok", "complete 1 min ago")
        app.clock.tick(late - TICK)
        assert (await directory(app))[0] == "degraded"
        with suffering(timely.faults["graph"], Fault(kind=Kind.STATUS, status=403)):
            await app.order("?stream=users")
        state, detail = await directory(app)
        assert state == "degraded"
        assert "users: the last run failed: Graph: HTTP 403" in detail
        assert "groups: the last complete round ended 4" in detail
        await app.order()
        assert (await directory(app))[0] == "ok"
        app.clock.tick(5 * 86_400)
        assert "after 7 days Graph forgets the link" in (await directory(app))[1]
        assert (await app.ask()).status == 200

    run(story)


def test_readiness_is_about_the_tenants_of_the_profile(run: RunStory) -> None:
    """FND-D10: a tenant that is new has no copy yet. One that left the profile is late for ever, and no fault."""

    async def is_copied(app: App, _: Callable[[], int]) -> None:
        await app.order()
        assert (await directory(app))[0] == "ok"

    async def is_not_copied(app: App, _: Callable[[], int]) -> None:
        assert await directory(app) == ("degraded", "users: no run has begun; groups: no run has begun")
        assert (await app.order()).body["complete"] is False

    run(is_copied)
    run(is_not_copied, tenants=[TENANT_ID, OTHER_TENANT])
    run(is_copied)


def test_a_loss_is_named_with_its_stream_or_without(run: RunStory) -> None:
    """Nothing is held back here, and both answers say so."""

    async def story(app: App, _: Callable[[], int]) -> None:
        await app.order()
        for query in ("?accept_loss=users:objects:3", "?accept_loss=users:objects:3&stream=users"):
            (told,) = (await app.order(query)).body["streams"]
            assert (told["name"], told["outcome"]) == ("users", "skipped")

    run(story)
