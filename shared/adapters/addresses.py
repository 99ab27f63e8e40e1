"""The addresses of names, each look-up in a thread of its own.

asyncio looks names up in the pool of the event loop, which has five threads where there is one processor. A name that
hangs would soon have all of them, and no other name would be found.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

type LookUp = Callable[[str, int], list[str]]
"""Returns the addresses of a name and a port, the preferred one first, or raises OSError; it may block."""
LOOK_UPS = 1
"""How many of one name run at the same time."""


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses that the system knows, in its order (RFC 6724)."""
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Addresses:
    """Finds addresses; requests for one name share a look-up, which goes on where they are given up.

    Args:
        look_up: returns the addresses of a name.
    """

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def of(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name.

        Raises:
            OSError: there are none, or they cannot be known.
        """
        key = host, port
        if key not in self._under_way:
            pool = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="look-up")
            found = asyncio.get_running_loop().run_in_executor(pool, self._look_up, host, port)
            pool.shutdown(wait=False)  # the thread ends with the look-up
            self._under_way[key] = found
            found.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(self._under_way[key])

    def _end(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # nobody may wait for it any more
