"""The table of what Graph may answer over several runs: tests/data/directory.toml."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.core.directory.order import read_order
from shared.core.directory.streams import STREAMS, USERS
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, TokenSource
from shared.directory.graph import Graph
from shared.directory.source import DirectorySource
from shared.telemetry.events import Events
from tests.adapters.database.directory_copy import ROOT, TENANT, oid, query
from tests.clock import FakeClock, no_sleep
from tests.directory.places import PLACES, OpenPlace, opener
from tests.tables import case_id, cases

EDGES = """
    select source.id as source, other.id as other from edge
    join directory_object as source on source.object = src join directory_object as other on other.object = dst
"""
CREDENTIALS = """
    select id, kind, key_id, ends_at
    from credential join directory_object using (object)
"""
IDS = {name: oid(number) for number, name in enumerate("ABCDKLMN", 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer of Graph: a page, or a refusal."""

    items: tuple[Mapping[str, Any], ...] = ()
    next: str = ""
    delta: str = ""
    status: int = 200
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, what Graph answers from then on, and what is seen of it."""

    later: float = 60
    order: str = ""
    answers: Mapping[str, Answered | tuple[Answered, ...]] = field(default_factory=dict)
    events: tuple[str, ...]
    remedy: str = ""
    trace_id: str = ""
    read: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Several runs, and the objects after the last of them."""

    id: str
    runs: tuple[Run, ...]
    objects: Mapping[str, Mapping[str, str | bool]]
    streams: tuple[str, ...] = (USERS.name,)
    without_columns: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()


def whole(item: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Write the ids out that an item names, its own and those of other objects, and null, which TOML has not."""
    if isinstance(item, dict):
        return {
            name: IDS.get(value, value) if name in {"id", "keyId"} else whole(value) for name, value in item.items()
        }
    if isinstance(item, list):
        return [whole(each) for each in item]
    return None if item == "NULL" else item


class Site:
    """A Graph whose answers are a table, and the copy of it."""

    def __init__(self, open_place: OpenPlace) -> None:
        self.clock = FakeClock()
        self._place = open_place(self.clock, STREAMS.values())
        self.file = self._place.file
        self.answers: dict[str, Answered | tuple[Answered, ...]] = {}
        self.read: list[str] = []
        self._lines: list[str] = []

    def run(self, streams: Iterable[str], order: str = "") -> list[dict[str, Any]]:
        """Run the sync once; list its events."""
        self.read.clear()
        self._lines.clear()
        graph = Graph(get_token=self._token, get=self._get, clock=self.clock, sleep=no_sleep, new_id=lambda: "an-id")
        source = DirectorySource(
            tenant_id=TENANT, root=ROOT, streams=tuple(STREAMS[name] for name in streams), graph=graph
        )
        reports = Events(self._lines.append, wall=self.clock.wall, worker="w")
        asyncio.run(
            self._place.run([source], reports=reports, seconds=240, order=read_order(order, streams=list(STREAMS)))
        )
        return [json.loads(line) for line in self._lines]

    def objects(self) -> Mapping[str, Mapping[str, Any]]:
        """Read every object with its columns, by the name of its id."""
        names = {value: name for name, value in IDS.items()}
        rows = {row["object"]: row for row in query(self.file, "select * from directory_object")}
        for stream in STREAMS.values():
            for row in query(self.file, f"select * from {stream.table}"):  # noqa: S608  # ours
                rows[row["object"]] |= row
        return {names[row["id"]]: row for row in rows.values()}

    def pairs(self, sql: str) -> list[str]:
        """Read pairs of ids by their names."""
        names = {value: name for name, value in IDS.items()}
        rows = [row.values() for row in query(self.file, sql)]
        return sorted(f"{names[source]}>{names[other]}" for source, other in rows)

    def credentials(self) -> list[str]:
        """Read every credential: the name of its object, its kind, the name of its key id, and the day of its end."""
        names = {value: name for name, value in IDS.items()}
        rows = [row.values() for row in query(self.file, CREDENTIALS)]
        return sorted(f"{names[oid]} {kind} {names[key_id]} {(end or 'never')[:10]}" for oid, kind, key_id, end in rows)

    def bytes(self) -> bytes:
        """Read the files of the database, or all that a server has of it."""
        if not isinstance(self.file, Path):
            return self.file.dump()
        return b"".join(file.read_bytes() for file in self.file.parent.glob(f"{self.file.name}*"))

    def close(self) -> None:
        """Close the store."""
        self._place.close()

    async def _token(self, *, rejected: str | None) -> Acquired:
        assert rejected is None
        return Acquired(AccessToken("t", self.clock(), lifetime=3_600, refresh_after=1_800), TokenSource.CACHE)

    async def _get(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        assert headers
        *_, room, place = url.partition("?")[0].split("/")
        place = f"{room}/{place}" if f"{room}/{place}" in self.answers else place
        self.read.append(place)
        answer = self.answers[place]
        if isinstance(answer, tuple):
            answer, *more = answer
            self.answers[place] = tuple(more) or answer
        if answer.status != 200:
            error = {"error": {"code": answer.code, "message": "CANARY", "innerError": {"request-id": IDS["A"]}}}
            return Reply(answer.status, json.dumps(error).encode() if answer.code else b"<html>", answer.headers)
        items = [whole(item) for item in answer.items]
        links = {"@odata.nextLink": answer.next, "@odata.deltaLink": answer.delta}
        return Reply(
            200, json.dumps({"value": items} | {name: f"{ROOT}/{to}" for name, to in links.items() if to}).encode()
        )


@pytest.fixture(params=PLACES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A Graph without answers, and an empty copy in each place."""
    with closing(Site(opener(request.param, tmp_path, request))) as made:
        yield made


def gist(event: Mapping[str, Any]) -> str:
    """Return what tells an event from others of its name: one field, or of those about ends what it says."""
    if "days" in event:
        names = {value: name for name, value in IDS.items()}
        whose = ", ".join(names[oid] for oid in event["object_ids"])
        return f"{event['number']} within {event['days']} of {whose}"
    return str(next(event[name] for name in ("outcome", "cause", "property", "kind") if name in event))


@pytest.mark.parametrize("case", cases("directory.toml", Case), ids=case_id)
def test_the_copy_is_what_graph_told(site: Site, case: Case) -> None:
    """After every run its events and the pages that it read; after the last one every object."""
    for run in case.runs:
        site.clock.tick(run.later)
        site.answers |= run.answers
        events = site.run(case.streams, run.order)
        assert "CANARY" not in json.dumps(events)
        assert [f"{each['event']}: {gist(each)}" for each in events] == list(run.events)
        assert run.remedy in (events[-1].get("remedy") or "")
        assert not run.trace_id or events[-1]["trace_id"] == IDS[run.trace_id]
        if run.read is not None:
            assert site.read == list(run.read)
    found = site.objects()
    assert found.keys() == case.objects.keys()
    for name, columns in case.objects.items():
        expected = {column: None if value == "NULL" else value for column, value in columns.items()}
        assert {column: found[name][column] for column in columns} == expected
    assert [name for name in case.without_columns if "display_name" in found[name]] == []
    assert site.pairs(EDGES) == list(case.edges)
    assert site.pairs("select group_id, member_id from group_members") == list(case.members)
    assert site.credentials() == list(case.credentials)
    assert b"CANARY" not in site.bytes()
