"""Syncs in processes of their own, which are killed: by themselves before a call, or from outside at any moment.

`python -m tests.end_to_end.killed_sync STORE ROOT CA STREAMS` reads a token for Graph and one for Azure Storage from
the first two lines of stdin, and a run from each further line. A line has three numbers:

- the number of the call to the store, the blob or Graph before which the process kills itself; 0: before none
- after how many seconds the process is killed from outside; 0: never
- how many seconds the clock of the process is ahead

STORE is a file, the URL of a blob with the folder of its local copy behind `#`, or the URL of a PostgreSQL database
with its roots behind `#`. STREAMS are names with commas between. Each process writes the name of each of its events to
a line of stdout; after its end there is a line with its exit code. The processes are forks of one that has imported
everything, because the imports take a hundred times as long as a sync.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine, event

from emulator.seed import TENANT_ID
from shared.adapters.blob import NAME
from shared.adapters.database.blob_file import BlobFile
from shared.adapters.database.blob_requests import BlobRequests
from shared.adapters.database.database import Database
from shared.adapters.database.kept_copy import KeptCopy
from shared.adapters.database.postgresql import Server, on_server
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.core.directory.streams import STREAMS
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, Moment, TokenSource
from shared.directory.graph import Graph
from shared.directory.rest import Rest
from shared.directory.run import FileRun, Plan
from shared.directory.source import DirectorySource
from shared.directory.store import DirectoryStore
from shared.directory.sync import Sync
from shared.system import System
from shared.telemetry.event import Reports
from shared.telemetry.events import Events
from tests.adapters.database.postgresql_server import PASSWORD


class Doom:
    """Counts calls, and kills the process at one of them, as a loss of power does."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._calls = count(1)

    def __call__(self, *_: object) -> None:
        """Count one."""
        if next(self._calls) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


class Late:
    """Clocks of which the one on the wall is ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self) -> Moment:
        """Read both."""
        return Moment(self.wall(), self.boot())

    def wall(self) -> float:
        """Read the wall clock."""
        return time.time() + self._seconds

    def boot(self) -> float:
        """Read the boot clock."""
        return time.monotonic()


def database_of(store: str) -> Database:
    """Return a database that is no blob."""
    if not store.startswith("postgresql:"):
        return in_file(Path(store))
    url = urlsplit(store)
    server = Server(
        host=url.hostname or "",
        port=url.port or 0,
        database=url.path.removeprefix("/"),
        user=url.username or "",
        ca_file=url.fragment,
    )
    return on_server(server, lambda _refused: PASSWORD)


async def run(
    *,
    at: int,
    store: str,
    root: str,
    ca_file: str,
    streams: str,
    later: float,
    secrets: tuple[str, str],
    tell: Callable[[str], None],
) -> None:
    """Sync streams once.

    Args:
        at: the number of the call at which the process is killed; 0: none.
        store: as in the theory above.
        root: the root of Graph.
        ca_file: the certificates to trust.
        streams: the names of the streams, with commas between.
        later: how many seconds the clock is ahead, so that the lease of a killed run has expired.
        secrets: a token for Graph, and one for Azure Storage.
        tell: takes the name of each event.
    """
    doom, late = Doom(at), Late(later)
    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, doom)
    token, storage_token = (AccessToken(each, late(), lifetime=3_600, refresh_after=1_800) for each in secrets)

    async def get_token(*, rejected: str | None) -> Acquired:
        assert rejected is None
        return Acquired(token, TokenSource.CACHE)

    network = Network(tls=client_tls(read_roots(ca_file)), proxy="", limits=Limits())
    async with aclosing(network):
        graph = network.upstream("Graph", exactly(root))

        async def get(url: str, *, headers: Mapping[str, str]) -> Reply:
            doom()
            return await graph.get(url, headers=headers, body_bytes=Limits().graph_page_bytes)

        async def send(
            method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", body_bytes: int | None = None
        ) -> Reply:
            doom()
            return await storage.send(method, url, headers=headers, content=content, body_bytes=body_bytes)

        async def get_storage_token(rejected: str | None) -> AccessToken:
            assert rejected is None
            return storage_token

        url, _, folder = store.partition("#")
        storage = network.upstream(NAME, exactly(url), limits=Limits().of_pieces)
        pages = Graph(get_token=get_token, get=get, clock=late, sleep=asyncio.sleep, new_id=System().new_id)
        with ThreadPoolExecutor(1) as pool:
            wanted = tuple(STREAMS[name] for name in streams.split(","))
            source = DirectorySource(tenant_id=TENANT_ID, root=root, streams=wanted, graph=pages)
            events = Events(
                lambda line: tell(json.loads(line)["event"]),
                wall=late.wall,
                worker=str(random.random()),  # noqa: S311
            )

            def make_sync(store: DirectoryStore, reports: Reports) -> Sync:
                return Sync(
                    sources=[source], store=store, pool=pool, system=System(clock=late), interval=0.0, events=reports
                )

            if not url.startswith("https:"):
                stored = SqlStore(database_of(store), streams=STREAMS.values())
                await make_sync(stored, events).run(seconds=60)
                stored.close()
            else:
                copy = KeptCopy(Path(folder))
                requests = BlobRequests(url, get_token=get_storage_token, send=send, sleep=asyncio.sleep)
                in_blob = FileRun(
                    BlobFile(requests, copy=copy, new_id=System().new_id, pool=pool),
                    open_store=lambda: SqlStore(in_file(copy.file), streams=STREAMS.values()),
                    make_sync=make_sync,
                    plan=Plan(sources=[source], interval=0.0, clock=late),
                    pool=pool,
                    events=events,
                    rest=Rest(System(clock=late)),
                )
                await in_blob.run(seconds=60)


def main() -> None:
    """Fork a sync for each line, one after the other."""
    store, root, ca_file, streams = sys.argv[1:]
    secrets = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    tell: Callable[[str], None] = partial(print, flush=True)
    for line in sys.stdin:
        at, seconds, later = (float(word) for word in line.split())
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(
                    run(
                        at=int(at),
                        store=store,
                        root=root,
                        ca_file=ca_file,
                        streams=streams,
                        later=later,
                        secrets=secrets,
                        tell=tell,
                    )
                )
            except BaseException:  # noqa: BLE001  # a child must not continue as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if seconds:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        tell(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
