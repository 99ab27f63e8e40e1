"""Targets 11 and 12: copies of directories of two sizes, a copy without a change, and the queries of readers.

Pages come from memory, so that the sync alone is measured: 200 users each, as Graph serves them, groups with 50
members, and applications with secrets. Each copy into a file is made by a process of its own, which reports its memory.
Beside it stand loops as readers of Graph write them: `directory_loops.py`. `--users` is how many the larger directory
has; target 11 is about a million.
"""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.directory_loops import MSGRAPH, ORM, loops
from benchmarks.graph_pages import ROOT, Pages, object_id
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI, by_turns, medians
from emulator.seed import TENANT_ID
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.order import Order
from shared.core.directory.streams import STREAMS
from shared.directory.source import DirectorySource
from shared.directory.sync import Sync
from shared.system import System
from shared.telemetry.events import Events
from tests.adapters.database.postgresql_server import ServerDatabase, running

SMALL = 10_000
RACE = 3_000
"""Users that each contender copies: Microsoft's SDK takes twenty seconds for them."""
DOCUMENT = Path(__file__).parents[1] / "docs" / "directory.md"
QUERIES_AT_ONCE = 200
"""Rows that a reader takes of an answer."""
SMALL_COPY, FIRST_COPY, DOCUMENTED = "10,000 users", "first copy", "documented bound"

type Ask = Callable[[str, Mapping[str, object]], Sequence[object]]


def rows(scale: Scale) -> list[Row]:
    """Copy two tenants, the smaller one again, and ask the larger copies."""
    small, large, race = scale.pick(SMALL, 400), scale.pick(scale.users, 2_000), scale.pick(RACE, 400)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds = _speeds(folder, race, scale)
        few = _copied(folder / "few.db", small)
        many = _copied(folder / "many.db", large)
        again = _copied(folder / "few.db", small)
        with closing(sqlite3.connect(f"file:{folder}/many.db?mode=ro", uri=True)) as connection:
            in_file_ = _slowest_query(partial(_ask_file, connection), large, without="-- PostgreSQL")
    with running() as server:
        database = server.new_database()
        _copy_to_server(database, large)
        with _connected(database) as ask:
            on_server_ = _slowest_query(ask, large, without="-- SQLite")
    queries = f"a copy of {large:,} users, its first {QUERIES_AT_ONCE} rows"
    against, bound = (MSGRAPH, 30) if MSGRAPH in speeds else (ORM, 1)
    return [
        compared(
            speeds,
            "directory-speed",
            what=f"First copy of {race:,} users into SQLite, pages from memory, stored with their links",
            unit="users/s",
            against=against,
            goal=Goal("ratio", ">=", bound),
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
            {VEND: in_file_, DOCUMENTED: 10.0},
            "directory-queries",
            what=f"The slowest documented query over {queries}: SQLite",
            unit="ms",
            against=DOCUMENTED,
            goal=Goal("ours", "<=", 10),
        ),
        compared(
            {VEND: on_server_, DOCUMENTED: 10.0},
            "directory-queries-postgresql",
            what=f"The slowest documented query over {queries}: PostgreSQL on this machine",
            unit="ms",
            against=DOCUMENTED,
            goal=Goal("ours", "<=", 10),
        ),
    ]


def _speeds(folder: Path, users: int, scale: Scale) -> Mapping[str, float]:
    """Return the users/s of each contender, each time into a new file."""
    numbers = count(1)

    def ours(file: Path, users: int) -> float:
        return _copied(file, users)["per_second"]

    def measured(copy: Callable[[Path, int], float]) -> Callable[[], float]:
        return lambda: copy(folder / f"speed-{next(numbers)}.db", users)

    contenders = {VEND: ours, **loops()}
    return medians(by_turns({name: measured(copy) for name, copy in contenders.items()}, scale))


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


def _copy_to_file(file: Path, users: int) -> None:
    """Copy a tenant anew; print what `_copied` returns."""
    with closing(SqlStore(in_file(file), streams=STREAMS.values())) as store:
        took, written = _copy(store, users)
    sys.stdout.write(json.dumps({"per_second": users / took, "memory": _most_memory(), "rows": written}))


def _copy_to_server(database: ServerDatabase, users: int) -> None:
    """Copy a tenant, and take the statistics that the server would take by itself within a minute."""
    with closing(SqlStore(database.open(), streams=STREAMS.values())) as store:
        _copy(store, users)
    database.execute("ANALYZE")


def _copy(store: SqlStore, users: int) -> tuple[float, int]:
    """Copy users, and then the rest; return the seconds for the users, and how many rows were written in all."""
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

    took = asyncio.run(run("users"))
    asyncio.run(run("groups", "servicePrincipals", "applications"))
    return took, sum(written)


def _most_memory() -> float:
    """Return the most memory that this process has had, in MiB. `getrusage` would count that of its parent too."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _slowest_query(ask: Ask, users: int, *, without: str) -> float:
    """Return the milliseconds of the slowest documented query, the best of five each.

    Args:
        ask: runs a query.
        users: how many there are.
        without: how a query begins that is for the other database alone.
    """
    values = {
        "tenant_id": TENANT_ID,
        "id": object_id(1, users // 2),
        "name": f"USER{users // 3}@contoso.example",
        "mail": f"USER{users // 3}@contoso.example",
        "app_id": object_id(6, 1),
        "days": 30,
    }
    documented = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    queries = [query for query in documented if not query.startswith(without)]
    assert len(queries) > 6
    asked = [{**values, "id": at} for at in (values["id"], object_id(2, users // 20))]
    for query in queries:
        assert any(ask(query, each) for each in asked), query
    return max(min(_milliseconds(ask, query, each) for _ in range(5)) for query in queries for each in asked)


def _milliseconds(ask: Ask, query: str, values: Mapping[str, object]) -> float:
    began = time.perf_counter()
    ask(query, values)
    return (time.perf_counter() - began) * MILLI


def _ask_file(connection: sqlite3.Connection, query: str, values: Mapping[str, object]) -> Sequence[Any]:
    return connection.execute(query, values).fetchmany(QUERIES_AT_ONCE)


@contextmanager
def _connected(database: ServerDatabase) -> Iterator[Ask]:
    """Connect once: a reader keeps its connection."""
    with database.connected() as connection:
        yield lambda query, values: connection.execute(
            re.sub(r":([a-z_]+)", r"%(\1)s", query).encode(), values
        ).fetchmany(QUERIES_AT_ONCE)


if __name__ == "__main__":
    _copy_to_file(Path(sys.argv[1]), int(sys.argv[2]))
