"""A forward proxy on loopback, the only way to host names that no resolver knows.

It tunnels (CONNECT, RFC 9110 section 9.3.6) and does nothing else, so what it saw is what was sent through a proxy:

    with LocalCloud(folder, domain="vend.test") as cloud, ForwardProxy(cloud.names) as proxy:
        httpx.get(f"{cloud.authority}/...", proxy=proxy.url, verify=...)
        assert proxy.tunnels == ["login.vend.test:443"]
"""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from emulator.network.accept import Acceptor, finish, first, streams
from emulator.network.serve import HOST, Background

CHUNK = 65536


class ForwardProxy(AbstractContextManager["ForwardProxy"]):
    """Serves at `url` while it is entered; `tunnels` lists what was asked for, oldest first, also what was refused.

    Args:
        names: the loopback port of each host name; a name leads where its parent domain leads.
    """

    def __init__(self, names: Mapping[str, int]) -> None:
        self._names = names
        self._stack = ExitStack()
        self.tunnels: list[str] = []

    def __enter__(self) -> Self:
        clients = Acceptor(self._serve)
        self.url = f"http://{HOST}:{clients.port}"
        background = self._stack.enter_context(Background())
        background.run(clients.listen())
        self._stack.callback(lambda: background.run(clients.close()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    async def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await streams(client)
            try:
                await self._tunnel(reader, writer)
                await finish(writer)
            finally:
                writer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("ascii").split(maxsplit=2)
        self.tunnels.append(target)
        port = self._port(target.rpartition(":")[0])
        if method != "CONNECT" or port is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        behind_reader, behind_writer = await asyncio.open_connection(HOST, port)
        try:
            await first(_pass_on(reader, behind_writer), _pass_on(behind_reader, writer))
        finally:
            behind_writer.transport.abort()

    def _port(self, name: str) -> int | None:
        return self._names.get(name) or self._names.get(name.partition(".")[2])


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
