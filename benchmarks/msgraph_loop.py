"""Copies users with Microsoft's SDK: `python -m benchmarks.msgraph_loop FILE USERS` prints users/s.

Run by the Python of `.venv/msgraph`: the SDK has 400 MB, so it is in an environment of its own. Pages come from memory,
as for every contender. The loop stores the columns that the pages have, a page at a time, and no link.
"""

import asyncio
import sqlite3
import sys
import time
from contextlib import closing

import httpx
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient

from benchmarks.graph_pages import COLUMNS, Pages


class FromMemory(httpx.AsyncBaseTransport):
    """Answers each request with a page.

    Args:
        users: how many there are.
    """

    def __init__(self, users: int) -> None:
        self._pages = Pages(users)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one."""
        content = await self._pages.page(str(request.url))
        return httpx.Response(200, headers={"content-type": "application/json"}, content=content, request=request)


async def copy(file: str, users: int) -> float:
    """Copy users into a new file; return users/s."""
    http = httpx.AsyncClient(transport=FromMemory(users))
    adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client=http)
    delta = GraphServiceClient(request_adapter=adapter).users.delta
    columns = list(COLUMNS.values())
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE person (id TEXT PRIMARY KEY, {', '.join(columns)})")
        store = f"INSERT OR REPLACE INTO person VALUES ({', '.join('?' * (len(columns) + 1))})"  # noqa: S608  # ours
        began = time.perf_counter()
        page = await delta.get()
        while True:
            connection.executemany(
                store, [[each.id, *(getattr(each, name) for name in columns)] for each in page.value]
            )
            connection.commit()
            if not page.odata_next_link:
                break
            page = await delta.with_url(page.odata_next_link).get()
        took = time.perf_counter() - began
        (stored,) = connection.execute("SELECT count(*) FROM person WHERE mail IS NOT NULL").fetchone()
    assert stored == users
    return users / took


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(copy(sys.argv[1], int(sys.argv[2])))))
