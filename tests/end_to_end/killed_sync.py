"""Syncs in processes of their own. Each process kills itself before its n-th call to the store or to Graph.

`python -m tests.end_to_end.killed_sync FILE ROOT CA STREAM` reads a token for Graph from the first line of stdin, and
an n from each further line. It writes the exit code of each process to a line of stdout. The processes are forks of one
that has imported everything, because the imports take a hundred times as long as a sync.
"""

import asyncio
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, event

from emulator.seed import TENANT_ID
from shared.adapters.database.store import SqlStore
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.core.directory.streams import STREAMS
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, Acquired, Moment, TokenSource
from shared.directory.graph import Graph
from shared.directory.sync import DirectorySource, Sync
from shared.system import System
from shared.telemetry.events import Events


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


async def run(*, at: int, file: Path, root: str, ca_file: str, stream: str, later: float, secret: str) -> None:
    """Sync one stream once.

    Args:
        at: the number of the call at which the process is killed; 0: none.
        file: the database.
        root: the root of Graph.
        ca_file: the certificates to trust.
        stream: the name of the stream.
        later: how many seconds the clock is ahead, so that the lease of a killed run has expired.
        secret: a token for Graph.
    """
    doom, late = Doom(at), Late(later)
    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, doom)
    token = AccessToken(secret, late(), lifetime=3_600, refresh_after=1_800)

    async def get_token(*, rejected: str | None) -> Acquired:
        assert rejected is None
        return Acquired(token, TokenSource.CACHE)

    network = Network(tls=client_tls(read_roots(ca_file)), proxy="", limits=Limits())
    async with aclosing(network):
        graph = network.upstream("Graph", exactly(root))

        async def get(url: str, *, headers: Mapping[str, str]) -> Reply:
            doom()
            return await graph.get(url, headers=headers, body_bytes=Limits().graph_page_bytes)

        store = SqlStore(file, streams=STREAMS.values())
        pages = Graph(get_token=get_token, get=get, clock=late, sleep=asyncio.sleep, new_id=System().new_id)
        with ThreadPoolExecutor(1) as pool:
            sync = Sync(
                sources=[DirectorySource(tenant_id=TENANT_ID, root=root, streams=(STREAMS[stream],), graph=pages)],
                store=store,
                pool=pool,
                system=System(clock=late),
                interval=0.0,
                events=Events(lambda _: None, wall=late.wall, worker=str(random.random())),  # noqa: S311
            )
            await sync.run(seconds=60)
        store.close()


def main() -> None:
    """Fork a sync for each line, one after the other."""
    file, root, ca_file, stream = sys.argv[1:]
    secret = sys.stdin.readline().strip()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(
                    run(
                        at=int(line), file=Path(file), root=root, ca_file=ca_file, stream=stream, later=0, secret=secret
                    )
                )
            except BaseException:  # noqa: BLE001  # a child must not continue as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # what this program is for


if __name__ == "__main__":
    main()
