"""A tenant that evolves, a Graph of it that fails, and a sync that is killed: all in one process, without a network."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emulator.directory.directory_object import State
from emulator.directory.evolution import Evolution
from emulator.directory.kinds import GROUPS, KINDS, MEMBERS
from emulator.directory.object_store import ObjectStore
from emulator.directory.population import Size
from emulator.graph.delta import DeltaQuery
from emulator.graph.lists import Lists
from emulator.graph.rows import Reading
from emulator.graph.switches import Switches
from emulator.refusal import Refusal
from shared.adapters.database.store import LEASE_SECONDS
from shared.core.directory.order import Order
from shared.core.directory.streams import STREAMS
from shared.core.errors import Unavailable
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, TokenSource
from shared.directory.graph import Graph
from shared.directory.source import DirectorySource
from shared.telemetry.events import Events
from shared.wiring.directory import SYNC_SECONDS
from tests.adapters.database.directory_copy import ROOT, TENANT
from tests.clock import FakeClock, no_sleep, run_virtual
from tests.directory.comparison import differences
from tests.directory.places import OpenPlace

SIZE = Size(users=30, groups=12, members=5, largest=15, service_principals=12, applications=12, devices=4)
DAY = 86_400.0
TYPES = {f"microsoft.graph.{kind.type}": kind for kind in KINDS.values()}


class Killed(BaseException):
    """The process is no more."""


class Doom:
    """Counts calls. The process ends at one of them, and does nothing after it."""

    def __init__(self, at: int = 0) -> None:
        self._left = at

    def __call__(self) -> None:
        """Count one."""
        if self._left == 1:
            raise Killed
        self._left -= 1


class Model:
    """A tenant and its copy.

    Args:
        open_place: opens the place of the copy.
        size: of the tenant.
        seed: of the tenant and its changes.

    Attributes:
        evolution: changes the tenant.
        switches: of its Graph.
        fails: how many of the next requests fail.
    """

    def __init__(self, open_place: OpenPlace, *, size: Size = SIZE, seed: int) -> None:
        self.clock = FakeClock()
        self.switches = Switches(page_size=7, links_per_page=9)
        self.objects = ObjectStore(now=self.clock.wall, lock=threading.RLock(), size=size, seed=seed)
        self.evolution = Evolution(self.objects, seed=seed)
        self.fails = 0
        self._place = open_place(self.clock, STREAMS.values())
        self._delta = DeltaQuery(url=ROOT, switches=self.switches, now=self.clock.wall)
        self._lists = Lists(url=ROOT, now=self.clock.wall)
        self._doom = Doom()

    def forget(self) -> None:
        """Refuse every link that was given out."""
        self._delta.revoke_tokens()

    def purge_member(self, group: int) -> None:
        """Remove a member of a group for good. Graph does not tell of the membership that ends with it."""
        found = (self.objects.find(each) for each in self.objects.edges(MEMBERS, self.objects.ids(GROUPS)[group]))
        gone = next((each for each in found if each and each.kind.name in STREAMS), None)
        if gone:
            self.objects.purge(gone.id)

    def sync(self, *, killed_at: int = 0) -> list[Mapping[str, Any]]:
        """Run the sync once in a process of its own, which may be killed; list its events."""
        lines = list[str]()
        self._begin(killed_at)
        try:
            asyncio.run(self._run(lines, Order()))
        except Killed:
            self.clock.tick(LEASE_SECONDS)
        return [json.loads(line) for line in lines]

    def fire(self) -> list[Mapping[str, Any]]:
        """Run what is due, as the timer does, while the clock moves on as pages take it; list the events."""
        lines = list[str]()
        self._begin()
        run_virtual(lambda: self._run(lines, None), self.clock)
        return [json.loads(line) for line in lines]

    def settle(self) -> list[Mapping[str, Any]]:
        """Sync without faults until everything is copied and the recycle bin is judged; list the events."""
        self.fails = 0
        events = self.sync()
        for _ in range(2):
            self.clock.tick(DAY)
            events += self.sync()
        return events

    def differences(self) -> Sequence[str]:
        """List where the copy is not the tenant."""
        return differences(self.objects, self._place.file)

    def close(self) -> None:
        """Close the place of the copy."""
        self._place.close()

    def _begin(self, killed_at: int = 0) -> None:
        """Begin a process."""
        self._doom = self._place.on_call = Doom(killed_at)
        self._place.restart()

    async def _run(self, lines: list[str], order: Order | None) -> None:
        graph = Graph(get_token=self._token, get=self._get, clock=self.clock, sleep=no_sleep, new_id=lambda: "an-id")
        source = DirectorySource(tenant_id=TENANT, root=ROOT, streams=tuple(STREAMS.values()), graph=graph)
        reports = Events(lines.append, wall=self.clock.wall, worker="w")
        await self._place.run([source], reports=reports, seconds=SYNC_SECONDS, order=order)

    async def _token(self, *, rejected: str | None) -> Acquired:
        assert rejected is None
        return Acquired(AccessToken("t", self.clock(), lifetime=3_600, refresh_after=1_800), TokenSource.CACHE)

    async def _get(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        assert headers
        self._doom()
        await asyncio.sleep(self.switches.page_seconds)
        if self.fails:
            self.fails -= 1
            if self.fails % 2:
                raise Unavailable(cause="Graph: timeout")
            return Reply(429, b"", {"retry-after": "90"})
        try:
            document = self._answer(url)
        except Refusal as refusal:
            error = {"error": {"code": refusal.code, "message": refusal.message}}
            return Reply(refusal.status, json.dumps(error).encode(), refusal.headers)
        return Reply(200, json.dumps(document).encode())

    def _answer(self, url: str) -> Mapping[str, object]:
        parts = urlsplit(url)
        query, path = dict(parse_qsl(parts.query)), parts.path.split("/")[2:]
        match path:
            case [name, "delta"]:
                kind = KINDS[name]
                return self._delta.answer(parts.path, query, kind=kind, objects=self.objects, reading=Reading())
            case [name]:
                kind, state = KINDS[name], State.ACTIVE
            case _:
                kind, state = TYPES[path[-1]], State.DELETED
        return self._lists.answer(parts.path, query, kind=kind, objects=self.objects, state=state)
