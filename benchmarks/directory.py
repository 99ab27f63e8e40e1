"""Targets 11 and 12: copies of directories of two sizes, a copy without a change, and the queries of readers.

Pages come from memory, so that the sync alone is measured: 200 users each, as Graph serves them, groups with 50
members, and applications with secrets. Each copy is made by a process of its own, which reports its memory. Beside it
stands a loop as readers of Graph write it: an ORM that merges each user, without a checkpoint.
"""

import asyncio
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, String, create_engine
from sqlalchemy.orm import Session, declarative_base

from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI
from emulator.seed import TENANT_ID
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.order import Order
from shared.core.directory.streams import STREAMS, USERS
from shared.directory.source import DirectorySource
from shared.directory.sync import Sync
from shared.system import System
from shared.telemetry.events import Events

ROOT = "https://graph.microsoft.com"
PAGE = 200
MEMBERS = 50
SMALL, LARGE, ORM_USERS = 10_000, 1_000_000, 10_000
DOCUMENT = Path(__file__).parents[1] / "docs" / "directory.md"
QUERIES_AT_ONCE = 200
"""Rows that a reader takes of an answer."""
ORM = "ORM loop"
SMALL_COPY, FIRST_COPY = "10,000 users", "first copy"
TODAY = time.time()
DOCUMENTED = "documented bound"


def rows(scale: Scale) -> list[Row]:
    """Copy two tenants, the smaller one again, and ask the larger copy."""
    small, large = scale.pick(SMALL, 400), scale.pick(LARGE, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        few = _copied(Path(folder) / "few.db", small)
        many = _copied(Path(folder) / "many.db", large)
        again = _copied(Path(folder) / "few.db", small)
        slowest = _slowest_query(Path(folder) / "many.db", large)
        orm = _orm(Path(folder) / "orm.db", scale.pick(ORM_USERS, 400))
    return [
        compared(
            {VEND: few["per_second"], ORM: orm},
            "directory-speed",
            what="First copy of users into SQLite, pages from memory, stored with their links",
            unit="users/s",
            against=ORM,
            goal=Goal("ratio", ">=", 1),
        ),
        compared(
            {VEND: many["memory"], SMALL_COPY: few["memory"]},
            "directory-memory",
            what=f"Copy of {large:,} users, {large // 10:,} groups, {large * 5:,} memberships: memory of the process",
            unit="MiB",
            against=SMALL_COPY,
            goal=Goal("ratio", "<=", 1.1),
        ),
        compared(
            {VEND: again["rows"], FIRST_COPY: few["rows"]},
            "directory-unchanged",
            what=f"A new copy of {small:,} users and what belongs to them, of which nothing has changed: rows written",
            unit="rows",
            against=FIRST_COPY,
            goal=Goal("ours", "<=", 0),
        ),
        compared(
            {VEND: slowest, DOCUMENTED: 10.0},
            "directory-queries",
            what=f"The slowest documented query over that copy, its first {QUERIES_AT_ONCE} rows",
            unit="ms",
            against=DOCUMENTED,
            goal=Goal("ours", "<=", 10),
        ),
    ]


def _oid(kind: int, number: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


def _user(number: int) -> dict[str, Any]:
    name = f"user{number}"
    return {
        "id": _oid(1, number),
        "accountEnabled": True,
        "displayName": f"User {number}",
        "mail": f"{name}@contoso.example",
        "userPrincipalName": f"{name}@contoso.example",
        "department": f"Department {number % 40}",
        "employeeId": str(number),
        "manager@delta": [{"id": _oid(1, number // 10), "@odata.type": "#microsoft.graph.user"}],
    }


def _group(number: int, users: int) -> dict[str, Any]:
    drawn = random.Random(number)  # the same each time
    members = [{"id": _oid(1, drawn.randrange(users)), "@odata.type": "#microsoft.graph.user"} for _ in range(MEMBERS)]
    return {"id": _oid(2, number), "displayName": f"Group {number}", "members@delta": members}


def _owned(kind: int, number: int) -> dict[str, Any]:
    """Return an application, or its service principal, with a secret that ends within the year."""
    end = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(TODAY + (number % 365 + 1) * 86_400))
    secret = {"keyId": _oid(5, number), "displayName": "deploy", "endDateTime": end}
    found = {"id": _oid(kind, number), "appId": _oid(6, number), "displayName": f"App {number}"}
    return {**found, "passwordCredentials": [secret], "keyCredentials": []}


class Pages:
    """A Graph in memory: a page at a time, and then nothing new."""

    def __init__(self, users: int) -> None:
        self._whole = {"users": users, "groups": users // 10, "applications": users // 100}
        self._whole["servicePrincipals"] = self._whole["applications"]

    async def page(self, link: str) -> bytes:
        """Return the page that a link leads to."""
        kind, _, at = link.partition("/v1.0/")[2].partition("/delta?")
        if at == "$deltatoken=end":
            return json.dumps({"value": [], "@odata.deltaLink": link}).encode()
        begin = int(at.removeprefix("$skiptoken=")) if at.startswith("$skiptoken=") else 0
        whole = self._whole[kind]
        end = min(begin + (20 if kind == "groups" else PAGE), whole)
        items = [self._item(kind, number) for number in range(begin, end)]
        name, token = (
            ("@odata.deltaLink", "$deltatoken=end") if end == whole else ("@odata.nextLink", f"$skiptoken={end}")
        )
        return json.dumps({"value": items, name: f"{ROOT}/v1.0/{kind}/delta?{token}"}).encode()

    def _item(self, kind: str, number: int) -> dict[str, Any]:
        match kind:
            case "users":
                return _user(number)
            case "groups":
                return _group(number, self._whole["users"])
            case "applications":
                return _owned(3, number)
        return _owned(4, number)


def _copied(file: Path, users: int) -> Mapping[str, float]:
    """Copy a tenant in a process of its own; return users/s, the memory in MiB and the rows that were written."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.directory", str(file), str(users)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


def _copy(file: Path, users: int) -> None:
    """Copy a tenant anew: users, and then the rest; print what `_copied` returns."""
    written: list[int] = []

    def note(line: str) -> None:
        event = json.loads(line)
        if event["event"] != "directory_credential_ends":
            assert event["event"] == "sync_finished", event
            written.append(event["rows"])

    async def run(*streams: str) -> float:
        source = DirectorySource(
            tenant_id=TENANT_ID, root=ROOT, streams=tuple(STREAMS[name] for name in streams), graph=Pages(users)
        )
        with ThreadPoolExecutor(1) as pool:
            events = Events(note, wall=time.time, worker="w")
            sync = Sync(sources=[source], store=store, pool=pool, system=System(), interval=900, events=events)
            began = time.perf_counter()
            await sync.run(seconds=7_200, order=Order(resync=True))
            return time.perf_counter() - began

    store = SqlStore(in_file(file), streams=STREAMS.values())
    took = asyncio.run(run("users"))
    asyncio.run(run("groups", "servicePrincipals", "applications"))
    store.close()
    sys.stdout.write(json.dumps({"per_second": users / took, "memory": _most_memory(), "rows": sum(written)}))


def _most_memory() -> float:
    """Return the most memory that this process has had, in MiB. `getrusage` would count that of its parent too."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _slowest_query(file: Path, users: int) -> float:
    """Return the milliseconds of the slowest documented query, the best of five each."""
    values = {
        "tenant_id": TENANT_ID,
        "id": _oid(1, users // 2),
        "name": f"USER{users // 3}@contoso.example",
        "mail": f"USER{users // 3}@contoso.example",
        "app_id": _oid(6, 1),
        "days": 30,
    }
    documented = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    queries = [query for query in documented if not query.startswith("-- PostgreSQL")]
    assert len(queries) > 6
    asked = [{**values, "id": at} for at in (values["id"], _oid(2, users // 20))]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        for query in queries:
            assert any(connection.execute(query, each).fetchone() for each in asked), query
        return max(min(_query(connection, query, each) for _ in range(5)) for query in queries for each in asked)


def _query(connection: sqlite3.Connection, query: str, values: Mapping[str, object]) -> float:
    began = time.perf_counter()
    connection.execute(query, values).fetchmany(QUERIES_AT_ONCE)
    return (time.perf_counter() - began) * MILLI


def _orm(file: Path, users: int) -> float:
    """Merge users by an ORM, page by page; return users/s."""
    base = declarative_base()
    columns = {column.name: Column(Boolean if column.kind is bool else String) for column in USERS.properties.values()}
    person = type("Person", (base,), {"__tablename__": "person", "id": Column(String, primary_key=True), **columns})
    engine = create_engine(f"sqlite:///{file}")
    base.metadata.create_all(engine)
    pages = Pages(users)
    began = time.perf_counter()
    for items in asyncio.run(_all(pages)):
        with Session(engine) as session:
            for item in items:
                session.merge(
                    person(id=item["id"], **{column.name: item.get(name) for name, column in USERS.properties.items()})
                )
            session.commit()
    took = time.perf_counter() - began
    engine.dispose()
    return users / took


async def _all(pages: Pages) -> list[list[dict[str, Any]]]:
    link, found = f"{ROOT}/v1.0/users/delta?$select=id", list[list[dict[str, Any]]]()
    while "$deltatoken" not in link:
        page = json.loads(await pages.page(link))
        found.append(page["value"])
        link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
    return found


if __name__ == "__main__":
    _copy(Path(sys.argv[1]), int(sys.argv[2]))
