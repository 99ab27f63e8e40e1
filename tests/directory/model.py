"""A tenant that evolves, a Graph of it that fails, and a sync that is killed: all in one process, without a network."""

import asyncio
import base64
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emulator.directory.directory_object import State
from emulator.directory.evolution import Evolution
from emulator.directory.kinds import GROUPS, KINDS, MEMBERS
from emulator.directory.object_store import ObjectStore
from emulator.directory.population import Size
from emulator.directory.truth import truth
from emulator.graph.delta import DeltaQuery
from emulator.graph.lists import Lists
from emulator.graph.rows import Reading
from emulator.graph.switches import Switches
from emulator.refusal import Refusal
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import LEASE_SECONDS, SqlStore
from shared.core.directory.order import Order
from shared.core.directory.streams import STREAMS
from shared.core.errors import Unavailable
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, TokenSource
from shared.directory.graph import Graph
from shared.directory.source import DirectorySource
from shared.directory.sync import Sync
from shared.telemetry.events import Events
from tests.adapters.database.directory_copy import ROOT, TENANT
from tests.api.shop import InPlace
from tests.clock import FakeClock, fake_system, no_sleep

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


class DoomedStore:
    """A store whose process may end before a call, or after it and before anybody learns of its end."""

    def __init__(self, store: SqlStore, doom: Doom) -> None:
        self._store = store
        self._doom = doom

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of the store."""
        method = getattr(self._store, name)

        def doomed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # of any method
            self._doom()
            result = method(*args, **kwargs)
            self._doom()
            return result

        return doomed


class Model:
    """A tenant and its copy.

    Attributes:
        evolution: changes the tenant.
        switches: of its Graph.
        fails: how many of the next requests fail.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.clock = FakeClock()
        self.switches = Switches(page_size=7, links_per_page=9)
        self.objects = ObjectStore(now=self.clock.wall, lock=threading.RLock(), size=SIZE, seed=seed)
        self.evolution = Evolution(self.objects, seed=seed)
        self.fails = 0
        self._file = folder / "directory.db"
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
        self._doom, lines = Doom(killed_at), list[str]()
        store = SqlStore(in_file(self._file), streams=STREAMS.values())
        graph = Graph(get_token=self._token, get=self._get, clock=self.clock, sleep=no_sleep, new_id=lambda: "an-id")
        sync = Sync(
            sources=[DirectorySource(tenant_id=TENANT, root=ROOT, streams=tuple(STREAMS.values()), graph=graph)],
            store=DoomedStore(store, self._doom),
            pool=InPlace(),
            system=fake_system(self.clock),
            interval=900.0,
            events=Events(lines.append, wall=self.clock.wall, worker="w"),
        )
        with closing(store):
            try:
                asyncio.run(sync.run(seconds=240, order=Order()))
            except Killed:
                self.clock.tick(LEASE_SECONDS)
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
        """List where the copy is not the tenant: objects with columns, edges of what is active, credentials."""
        true, found = truth(self.objects), self._copy()
        active = {oid for oid, each in true.objects.items() if each.state is State.ACTIVE and each.kind.name in STREAMS}
        expected: Mapping[str, set[tuple[Any, ...]]] = {
            "objects": {
                (oid, column.name, true.objects[oid].properties.get(name))
                for oid in active
                for name, column in STREAMS[true.objects[oid].kind.name].properties.items()
            },
            "edges": {
                (STREAMS[true.objects[source].kind.name].relations[relation], source, other)
                for relation, source, other in true.edges
                if source in active
            },
            "credentials": {
                (
                    oid,
                    "key" if each.is_key else "secret",
                    key_id,
                    each.name,
                    _hex(each.thumbprint),
                    each.starts,
                    each.ends,
                )
                for (oid, key_id), each in true.credentials.items()
                if oid in active
            },
        }
        return [
            f"{what} {sign} {row}"
            for what in expected
            for sign, rows in (("lacks", expected[what] - found[what]), ("has", found[what] - expected[what]))
            for row in sorted(rows, key=str)
        ]

    def _copy(self) -> Mapping[str, set[tuple[Any, ...]]]:
        with closing(sqlite3.connect(self._file)) as connection:
            objects = set[tuple[Any, ...]]()
            for stream in STREAMS.values():
                for column in stream.properties.values():
                    rows = connection.execute(
                        f'select id, "{column.name}" from directory_object left join {stream.table} using (object)'  # noqa: S608  # ours
                        " where state = 'active' and stream = ?",
                        [stream.name],
                    )
                    kind = column.kind
                    objects |= {(oid, column.name, value if value is None else kind(value)) for oid, value in rows}
            edges = connection.execute(
                "select kind, source.id, other.id from edge join directory_object as source on source.object = src"
                " join directory_object as other on other.object = dst where source.state = 'active'"
            ).fetchall()
            credentials = connection.execute(
                "select id, kind, key_id, name, thumbprint, replace(starts_at, '.000000', ''),"
                " replace(ends_at, '.000000', '') from credential join directory_object using (object)"
                " where state = 'active'"
            ).fetchall()
        assert len(edges) == len(set(edges))
        return {"objects": objects, "edges": set(edges), "credentials": set(credentials)}

    async def _token(self, *, rejected: str | None) -> Acquired:
        assert rejected is None
        return Acquired(AccessToken("t", self.clock(), lifetime=3_600, refresh_after=1_800), TokenSource.CACHE)

    async def _get(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        assert headers
        self._doom()
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


def _hex(thumbprint: object) -> str | None:
    return base64.b64decode(thumbprint).hex().upper() if isinstance(thumbprint, str) else None
