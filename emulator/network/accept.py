"""Accepts connections on a loopback port: each is a task, and no task and no socket outlives the end of that.

asyncio's own server can wait for ever when it is closed. A connection that is lost within the TLS handshake is never
reported to its stream. One that is accepted while the server closes is counted although nobody serves it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from emulator.network.serve import listening_socket

BACKLOG = 128
SECONDS_TO_FINISH = 1.0

type Serve = Callable[[socket.socket], Coroutine[Any, Any, None]]


class Acceptor:
    """Owns a port from construction to `close`, also while it refuses connections.

    Args:
        serve: serves one connection; it is cancelled when the connection must end.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, serve: Serve, *, port: int = 0) -> None:
        self._serve = serve
        # Bound and not listening: the system refuses connections, and no other process can take the port.
        self._socket = listening_socket(port)
        self._listens = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.port: int = self._socket.getsockname()[1]

    async def listen(self) -> None:
        """Accept connections from now on, on the loop that runs this."""
        if not self._listens:
            self._listens = True
            self._socket.settimeout(0)
            self._socket.listen(BACKLOG)
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def refuse(self) -> None:
        """End every connection, and refuse new ones."""
        if self._listens:
            self._stop()
            self._socket = listening_socket(self.port)
        await self.end_all()

    async def end_all(self) -> None:
        """End every connection, and wait until its task has ended and its socket is closed."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End every connection and give the port back."""
        self._stop()
        await self.end_all()

    def _stop(self) -> None:
        if self._listens:
            self._listens = False
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        """Accept every connection that waits."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                client, _ = self._socket.accept()
                client.settimeout(0)
                task = asyncio.ensure_future(self._serve(client))
                self._tasks.add(task)
                task.add_done_callback(partial(self._ended, client))

    def _ended(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        client.close()  # a task that is cancelled before its first step has never seen its socket


async def streams(
    client: socket.socket, *, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of an accepted connection, after the handshake where there is TLS.

    Raises:
        OSError: the handshake failed.
    """
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = loop.create_future()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(), lambda *both: connected.set_result(both))
    # In two steps: cancelled at the beginning of a handshake, `connect_accepted_socket` forgets the connection.
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client)
    reader, writer = connected.result()
    if tls:
        try:
            await writer.start_tls(tls, ssl_shutdown_timeout=SECONDS_TO_FINISH)
        except BaseException:
            transport.abort()
            raise
    return reader, writer


async def finish(writer: asyncio.StreamWriter) -> None:
    """Close a connection once the peer has taken what was written, or after `SECONDS_TO_FINISH`."""
    writer.close()
    with contextlib.suppress(OSError):
        async with asyncio.timeout(SECONDS_TO_FINISH):
            await writer.wait_closed()
    writer.transport.abort()


async def first(*work: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has ended, in whatever way, and stop the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
