import asyncio
import gc
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud import LocalCloud
from emulator.directory.directory_object import State
from emulator.directory.objects import Tenant
from emulator.directory.people import People
from emulator.directory.population import Size
from emulator.directory.truth import truth
from emulator.entra.app import Forgery
from emulator.graph.switches import TokenRefusal
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, CLIENT_ID, TENANT_ID
from emulator.tour.site import app_settings
from shared.core.directory.streams import GROUPS, USERS
from tests.clock import FakeClock
from tests.in_process import INTERVAL_SECONDS, App, suffering

pytestmark = pytest.mark.slow

PEOPLE = 45
MANAGED = PEOPLE - 1
"""How many of them have a manager: all but the first."""
OTHER_TENANT = "0e6c2a41-9b7d-4f35-8c1a-d4e8b5f6a723"
type Event = dict[str, Any]


@dataclass
class Pace:
    """The seconds that pass whenever the cloud reads its clock."""

    seconds: float = 0.0


@pytest.fixture
def pace() -> Pace:
    """Time stands still unless a test says otherwise."""
    return Pace()


@pytest.fixture
def directory(
    fake_clock: FakeClock, pace: Pace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalCloud]:
    """A cloud with a small tenant and small pages, whose managed identity this process has."""

    def now() -> float:
        fake_clock.tick(pace.seconds)
        return fake_clock().wall

    with LocalCloud(tmp_path, now=now, users=PEOPLE) as running:
        running.graph.delta.page_size = 10
        for name, value in app_settings(running, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield running
        gc.collect()  # an SDK client keeps its connection until then


def settings(cloud: LocalCloud, folder: Path, *, tenants: Sequence[str] = (TENANT_ID,)) -> str:
    """Add the sync to a vend.toml."""
    credential = f'{{ type = "certificate", vault = "{cloud.vault_url}", name = "{CERTIFICATE}" }}'
    return f"""
profiles.directory.tenants = {json.dumps(tenants)}
profiles.directory.client_id = "{CLIENT_ID}"
profiles.directory.scopes = ["{cloud.graph_url}/.default"]
profiles.directory.vendable = false
profiles.directory.credentials = [{credential}]
sync.profile = "directory"
sync.store = {json.dumps(f"sqlite:///{folder}/directory.db")}
"""


def expected(cloud: LocalCloud) -> Mapping[str, Mapping[str, Any]]:
    """Return the people whom a reader should find, by id: neither deleted nor disabled."""
    return {
        person.id: {column.name: person.properties.get(name) for name, column in USERS.properties.items()}
        for person in cloud.people.tenant().values()
        if not person.removed and person.properties.get("accountEnabled") is not False
    }


def found(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the people whom a reader finds, by id."""
    columns = ["id", *(column.name for column in USERS.properties.values())]
    with closing(sqlite3.connect(folder / "directory.db")) as connection:
        rows = connection.execute(f"select {', '.join(columns)} from active_users").fetchall()  # noqa: S608  # ours
    people = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows}
    for person in people.values():
        enabled = person["account_enabled"]
        person["account_enabled"] = None if enabled is None else bool(enabled)
    return people


def expected_edges(cloud: LocalCloud) -> set[tuple[str, str, str]]:
    """Return the edges of active objects."""
    true = truth(cloud.objects)
    active = {each for each, found in true.objects.items() if found.state is State.ACTIVE}
    kinds = {**USERS.relations, **GROUPS.relations}
    return {(kinds[kind], source, other) for kind, source, other in true.edges if source in active}


def found_edges(folder: Path) -> set[tuple[str, str, str]]:
    """Return the edges of the active objects of the copy."""
    with closing(sqlite3.connect(folder / "directory.db")) as connection:
        found = connection.execute(
            "select kind, source.id, other.id from edge join directory_object as source on source.object = src"
            " join directory_object as other on other.object = dst where source.state = 'active'"
        )
        return {(kind, source, other) for kind, source, other in found}


def summary(events: list[Event]) -> tuple[Any, ...]:
    """Return the fields of the one event of a run that succeeded."""
    (event,) = events
    return tuple(event.get(name) for name in ("event", "outcome", "pages", "changes", "rows"))


type Story = Callable[[App], Awaitable[None]]


@pytest.fixture
def run(directory: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> Callable[[Story], None]:
    """Run a story with an app that syncs from the cloud."""

    def run_story(story: Story) -> None:
        async def whole() -> None:
            async with App(directory, fake_clock, tmp_path, settings=settings(directory, tmp_path)) as app:
                await story(app)

        asyncio.run(whole())

    return run_story


def test_the_copy_is_the_tenant(run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path) -> None:
    """The first run reads everybody, the second nothing, the third what has changed."""

    async def story(app: App) -> None:
        assert summary(await app.sync()) == ("sync_finished", "complete", 5, PEOPLE, 2 * PEOPLE + MANAGED)
        assert found(tmp_path) == expected(directory)
        assert summary(await app.sync()) == ("sync_finished", "complete", 1, 0, 0)
        first, second, third, fourth = list(directory.people.tenant())[:4]
        directory.people.update(first, department=None, jobTitle="Owner")
        directory.people.remove(second)
        directory.people.purge(third)
        directory.people.add(displayName="New", userPrincipalName="new@contoso.example")
        assert summary(await app.sync()) == ("sync_finished", "complete", 1, 4, 5)
        assert found(tmp_path) == expected(directory)
        directory.people.restore(second)
        directory.people.update(fourth, accountEnabled=False)
        await app.sync()
        assert found(tmp_path) == expected(directory)
        assert fourth not in found(tmp_path)

    run(story)
    assert len(directory.entra.requests) == 1


def test_an_awkward_graph_makes_no_difference(
    run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path
) -> None:
    """REL-41: Graph sends people in any order and twice, changes again, and empty pages."""
    switches = directory.graph.delta
    switches.shuffled = switches.repeats = True
    switches.empty_pages_first = 1

    async def story(app: App) -> None:
        await app.sync()
        assert found(tmp_path) == expected(directory)
        for person in list(directory.people.tenant())[::3]:
            directory.people.update(person, jobTitle="Other")
        await app.sync()
        assert found(tmp_path) == expected(directory)
        assert summary(await app.sync())[-1] == 0

    run(story)


@pytest.mark.parametrize(("status", "code"), [(400, "syncStateNotFound"), (410, "SyncStateNotFound"), (410, "x")])
def test_a_forgotten_link_is_a_new_copy(
    run: Callable[[Story], None],
    directory: LocalCloud,
    fake_clock: FakeClock,
    tmp_path: Path,
    status: int,
    code: str,
) -> None:
    """REL-40: the same run reads everybody again, and people who were purged meanwhile are deleted."""

    async def story(app: App) -> None:
        await app.sync()
        directory.graph.delta.delta_refusal = TokenRefusal(status, code, "", restarts=status == 410)
        directory.people.purge(next(iter(directory.people.tenant())))
        directory.graph.delta.delta_token_seconds = 864
        fake_clock.tick(900)
        events = await app.sync()
        assert [event["event"] for event in events] == ["sync_restarted", "sync_finished"]
        assert found(tmp_path) == expected(directory)

    run(story)


def test_the_recycle_bin_is_looked_into_once_a_day(
    run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path
) -> None:
    """DIR-16, DIR-18: by lists of Graph, 15 ids a request: who was restored, who is gone, and who still lies there."""
    switches, people = directory.graph.delta, list(directory.people.tenant())

    async def story(app: App) -> None:
        await app.sync()
        for person in people[:20]:
            directory.people.remove(person)
        await app.sync()
        switches.restores_told = switches.purges_told = False
        for person in people[:17]:
            directory.people.restore(person)
        directory.people.purge(people[17])
        await app.sync()
        assert not found(tmp_path).keys() & set(people[:20])
        app.clock.tick(86_400)
        assert summary(await app.sync()) == ("sync_finished", "complete", 1, 0, 0)
        assert found(tmp_path) == expected(directory)
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection:
            states = dict(connection.execute("select id, state from directory_object where state <> 'active'"))
        assert states == {people[17]: "purged", people[18]: "deleted", people[19]: "deleted"}

    run(story)


def test_a_run_goes_on_after_a_short_wait(run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path) -> None:
    """REL-39: a run waits as long as Retry-After says, retries a failure without one, and reads no page twice."""

    async def story(app: App) -> None:
        for headers in ({"retry-after": "7"}, {}):
            directory.faults["graph"].set(Fault(kind=Kind.STATUS, status=429, times=2, headers=headers))
            before = app.clock().boot
            assert summary(await app.sync())[:2] == ("sync_finished", "complete")
            assert app.clock().boot - before - INTERVAL_SECONDS == (14 if headers else 3)
        directory.faults["graph"].set(Fault(kind=Kind.CUT, after_bytes=0, times=1))
        assert summary(await app.sync())[:2] == ("sync_finished", "complete")
        assert found(tmp_path) == expected(directory)

    run(story)


def test_the_next_run_goes_on_where_one_had_to_end(
    run: Callable[[Story], None], directory: LocalCloud, pace: Pace, tmp_path: Path
) -> None:
    """A run whose time is over begins no further page. The next run reads only the pages that are left."""

    async def story(app: App) -> None:
        pace.seconds = 40.0
        first = summary(await app.sync())
        pace.seconds = 0.0
        second = summary(await app.sync())
        assert (first[1], second[1]) == ("to be continued", "complete")
        assert first[2] + second[2] == len(directory.graph.requests) == 5
        assert found(tmp_path) == expected(directory)

    run(story)


@pytest.mark.parametrize(
    ("fault", "cause", "requests"),
    [
        (Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "3600"}), "Graph: HTTP 429", 1),
        (Fault(kind=Kind.STATUS, status=503), "Graph: HTTP 503", 4),
        (Fault(kind=Kind.STATUS, status=404), "Graph: HTTP 404", 1),
        (Fault(kind=Kind.STATUS, status=401), "Graph: HTTP 401", 2),
        (
            Fault(kind=Kind.STATUS, status=403),
            "Graph: HTTP 403",
            1,
        ),
        (Fault(kind=Kind.STATUS, status=302, headers={"location": "https://evil.example/"}), "Graph: HTTP 302", 1),
        (Fault(kind=Kind.GARBAGE), "the page is not a JSON object", 1),
        (
            Fault(kind=Kind.STATUS, status=200, body='{"value": [], "@odata.nextLink": "https://evil.example/"}'),
            "the page leads away from Graph",
            1,
        ),
    ],
    ids=["429 for an hour", "503", "404", "401", "403", "redirect", "garbage", "leads away"],
)
def test_a_run_that_fails_leaves_the_copy_as_it_is(
    run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path, fault: Fault, cause: str, requests: int
) -> None:
    """REL-39, SEC-12: one event names the cause, nothing is changed, and the next run completes the copy."""

    async def story(app: App) -> None:
        await app.sync()
        before = found(tmp_path)
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
            connection.execute("update sync_stream set fingerprint = ''")  # as if another version had made the copy
        switch = directory.faults["graph"]
        with suffering(switch, fault):
            earlier = switch.taken
            (event,) = await app.sync()
            assert (event["event"], event["cause"]) == ("sync_failed", cause)
            assert switch.taken - earlier == requests
        assert found(tmp_path) == before
        directory.people.add(displayName="New")
        app.clock.tick(3_600)
        await app.sync()
        assert found(tmp_path) == expected(directory)

    run(story)


def test_a_copy_without_anybody_is_not_believed(
    run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path
) -> None:
    """SEC-19: the copy is complete, an event has the number of people, and readers find all of them."""

    async def story(app: App) -> None:
        await app.sync()
        before = found(tmp_path)
        with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
            connection.execute("update sync_stream set fingerprint = ''")
        body = f'{{"value": [], "@odata.deltaLink": "{directory.graph_url}/v1.0/x"}}'
        with suffering(directory.faults["graph"], Fault(kind=Kind.STATUS, status=200, body=body)):
            held, finished = await app.sync()
        assert (held["event"], held["kind"], held["number"]) == ("sync_held", "objects", PEOPLE)
        assert finished["outcome"] == "complete"
        assert found(tmp_path) == before

    run(story)


def test_a_graph_that_never_answers_ends_the_run(directory: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-63: each request to Graph has its deadline, the run ends, and the next one begins afresh."""
    limits = "limits.graph_first_byte_seconds = 0.3\nlimits.graph_page_seconds = 0.3\nlimits.connect_seconds = 0.1\n"

    async def story() -> None:
        async with App(directory, fake_clock, tmp_path, settings=settings(directory, tmp_path) + limits) as app:
            with suffering(directory.faults["graph"], Fault(kind=Kind.HOLD)):
                (event,) = await app.sync()
            assert (event["event"], event["cause"]) == ("sync_failed", "Graph: timeout")
            assert summary(await app.sync())[:2] == ("sync_finished", "complete")

    asyncio.run(story())


def test_a_database_that_never_lets_go_ends_the_run(
    run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path
) -> None:
    """REL-43, REL-63: a lock that another process keeps ends the run after SQLite's wait, and the next one is good."""

    async def story(app: App) -> None:
        await app.sync()
        with closing(sqlite3.connect(tmp_path / "directory.db")) as other:
            other.execute("begin immediate")
            (event,) = await app.sync()
            assert (event["event"], event["cause"]) == ("sync_failed", "the store failed: SQLITE_BUSY")
            other.rollback()
        assert summary(await app.sync())[:2] == ("sync_finished", "complete")
        assert found(tmp_path) == expected(directory)

    run(story)


def test_a_second_run_stays_away(run: Callable[[Story], None], directory: LocalCloud, tmp_path: Path) -> None:
    """REL-44: a run ends at once, with an event, while another run holds the lease."""

    async def story(app: App) -> None:
        directory.faults["graph"].set(Fault(kind=Kind.HOLD))
        first = asyncio.create_task(app.sync())
        await asyncio.to_thread(directory.faults["graph"].wait_for, 1)
        other = App(directory, app.clock, tmp_path, settings=settings(directory, tmp_path))
        assert [event["event"] for event in await other.sync()] == ["sync_skipped"]
        directory.faults["graph"].clear()
        assert summary(await first)[:2] == ("sync_finished", "complete")
        async with other:
            pass  # nothing of it is left open

    run(story)


def test_every_tenant_of_the_profile_is_copied(directory: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """DIR-09: each with tokens and a link of its own."""
    store = directory.directory
    store.add_tenant(Tenant(OTHER_TENANT, "fabrikam.example"), size=Size.of(5), seed=2)
    principal = store.consent(CLIENT_ID, tenant_id=OTHER_TENANT)
    store.grant(principal.object_id, resource="https://graph.microsoft.com", roles=frozenset({"User.Read.All"}))
    lines = settings(directory, tmp_path, tenants=(TENANT_ID, OTHER_TENANT))

    async def story() -> None:
        async with App(directory, fake_clock, tmp_path, settings=lines) as app:
            for changes in ((PEOPLE, 5), (0, 0)):
                events = await app.sync()
                ends = {event["tenant_id"]: (event["outcome"], event["changes"]) for event in events}
                assert ends == {
                    tenant: ("complete", number)
                    for tenant, number in zip((TENANT_ID, OTHER_TENANT), changes, strict=True)
                }

    asyncio.run(story())
    people = set(People(store.objects(OTHER_TENANT)).tenant())
    assert expected(directory).keys() < found(tmp_path).keys() <= expected(directory).keys() | people


@pytest.mark.parametrize("awkward", [False, True], ids=["orderly", "awkward"])
def test_the_copy_of_memberships_is_that_of_a_tenant_that_evolves(
    directory: LocalCloud, fake_clock: FakeClock, tmp_path: Path, *, awkward: bool
) -> None:
    """Cycles, diamonds, removals, restores and a link that is forgotten: the edges are those of the tenant."""
    store, graph = directory.directory, directory.graph
    principal = store.service_principal(CLIENT_ID, tenant_id=TENANT_ID)
    assert principal
    roles = frozenset({"User.Read.All", "GroupMember.Read.All"})
    store.grant(principal.object_id, resource="https://graph.microsoft.com", roles=roles)
    if awkward:
        graph.delta.shuffled = graph.delta.repeats = graph.delta.removed_in_first_round = True
        graph.delta.links_per_page = 3
        graph.delta.empty_pages_between = 1
    lines = settings(directory, tmp_path) + 'sync.streams = ["users", "groups"]\n'

    async def story() -> None:
        async with App(directory, fake_clock, tmp_path, settings=lines) as app:
            for turn in range(6):
                directory.evolution.run(40)
                if turn == 3:
                    graph.delta.delta_token_seconds = 1.0
                    fake_clock.tick(2)
                events = await app.sync()
                graph.delta.delta_token_seconds = 86_400.0
                restarted = [event["stream"] for event in events if event["event"] == "sync_restarted"]
                assert sorted(restarted) == (["groups", "users"] if turn == 3 else [])
                assert [event["outcome"] for event in events if event["event"] == "sync_finished"] == ["complete"] * 2
                assert found_edges(tmp_path) == expected_edges(directory)
                assert found(tmp_path) == expected(directory)

    asyncio.run(story())


def test_a_registration_without_the_permission_is_told_so(run: Callable[[Story], None], directory: LocalCloud) -> None:
    """Graph's own 403, for a token without the role."""
    graph = directory.directory.api("https://graph.microsoft.com")
    assert graph

    async def story(app: App) -> None:
        directory.entra.forgery = Forgery(claims={"roles": None})
        (event,) = await app.sync()
        assert event["cause"].startswith("Graph: HTTP 403")
        assert len(app.everything("token_without_roles")) == 1

    run(story)
