"""The front door of one part: ends TLS, passes bytes on to the server behind it, and fails as a network does.

The server behind speaks plain HTTP on a loopback port of its own, so the bytes counted here are those of HTTP.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from emulator.network.accept import Acceptor, finish, first, streams
from emulator.network.faults import CONNECTION_KINDS, Fault, Kind, Switch
from emulator.network.flaws import HALF_SERVER_HELLO, Flaw, ServerTls
from emulator.network.serve import HOST

CHUNK = 65536
TICKS_PER_SECOND = 10
STATUS_LINE = b"HTTP/1.1 200 OK\r\n"
HEADERS = b"x-padding: 1\r\n" * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: close() sends RST instead of FIN


class Connection:
    """One client's connection; a fault that was taken stays with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._fault: Fault | None = None
        self._off = asyncio.Event()
        self._passed = 0

    @property
    def fault(self) -> Fault | None:
        """The fault of this connection, unless it was switched off since."""
        return None if self._off.is_set() else self._fault

    def suffer(self, fault: Fault, off: asyncio.Event) -> None:
        """Take on a fault until `off`."""
        self._fault, self._off, self._passed = fault, off, 0

    def reset(self) -> None:
        """End it with RST, as a firewall or a dying peer does."""
        _reset_at_close(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()

    async def swallow(self) -> None:
        """Take in everything and answer nothing, until the fault is off or the client gives up."""
        await first(self._off.wait(), _discard(self.reader.read))
        self.reset()

    async def answer(self, chunk: bytes) -> None:
        """Pass on bytes of an answer as far and as fast as the fault lets them."""
        fault = self.fault
        if fault is None:
            await self._send(chunk)
        elif fault.kind is Kind.DRIP:
            whole = max(0, fault.after_bytes - self._passed)
            self._passed += len(chunk)
            await self._send(chunk[:whole])
            await self._drip(chunk[whole:], fault.bytes_per_second)
        elif fault.kind is Kind.CUT:
            await self._send(chunk[: max(0, fault.after_bytes - self._passed)])
            self._passed += len(chunk)
            if self._passed >= fault.after_bytes:
                self.reset()
        elif fault.kind is Kind.ENDLESS_HEADERS:
            await self._send(STATUS_LINE)
            while self.fault:
                await self._send(HEADERS)
                await asyncio.sleep(0)  # a client that reads fast would leave no time to others
            self.reset()

    async def _drip(self, chunk: bytes, bytes_per_second: int) -> None:
        size = max(1, bytes_per_second // TICKS_PER_SECOND)
        for start in range(0, len(chunk), size):
            if self._off.is_set():
                await self._send(chunk[start:])
                return
            await self._send(chunk[start : start + size])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._off.wait(), size / bytes_per_second)

    async def _send(self, chunk: bytes) -> None:
        self.writer.write(chunk)
        await self.writer.drain()


class Gate:
    """Owns the port of a part from construction to `close`, also while nobody listens on it.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, switch: Switch, *, tls: ServerTls | None, port: int = 0) -> None:
        self._switch = switch
        self._tls = tls
        self._behind = 0
        self._clients = Acceptor(self._serve, port=port)
        self.port = self._clients.port
        switch.follow(self._turned)

    async def open(self, behind: int) -> None:
        """Start to pass connections on to the server at this loopback port."""
        self._behind = behind
        await self._clients.listen()

    async def close(self) -> None:
        """Let go of what a fault holds, reset everything and give the port back."""
        await self._switch.turn(None)
        await self._clients.close()

    async def _turned(self, fault: Fault | None) -> None:
        if fault and fault.kind is Kind.REFUSE:
            await self._clients.refuse()
            return
        await self._clients.listen()
        if fault and fault.kind is Kind.TLS:
            await self._clients.end_all()  # those that are live have shaken hands already

    async def _serve(self, client: socket.socket) -> None:
        """Serve one connection; the client sees a reset where this is cancelled."""
        try:
            if taken := self._switch.take(frozenset({Kind.BLACK_HOLE})):
                await _swallow(client, taken[1])
                return
            taken = self._switch.take(frozenset({Kind.TLS}))
            if taken and taken[0].flaw is Flaw.CUT_OFF:
                await _cut_off(client)
                return
            tls = self._tls
            context = None if tls is None else tls.flawed(taken[0].flaw) if taken else tls.good
            await self._pass_on(Connection(*await streams(client, tls=context)))
        except OSError:
            pass  # either side may go at any time
        except asyncio.CancelledError:
            _reset_at_close(client)
            raise

    async def _pass_on(self, connection: Connection) -> None:
        try:
            answers, requests = await asyncio.open_connection(HOST, self._behind)
            try:
                await first(self._requests(connection, requests), _answers(connection, answers))
            finally:
                requests.transport.abort()
            await finish(connection.writer)
        finally:
            connection.writer.transport.abort()

    async def _requests(self, connection: Connection, behind: asyncio.StreamWriter) -> None:
        while chunk := await connection.reader.read(CHUNK):
            if connection.fault is None and (taken := self._switch.take(CONNECTION_KINDS)):
                connection.suffer(*taken)
            if connection.fault and connection.fault.kind is Kind.BLACK_HOLE:
                await connection.swallow()
                return
            behind.write(chunk)
            await behind.drain()


async def _answers(connection: Connection, behind: asyncio.StreamReader) -> None:
    while chunk := await behind.read(CHUNK):
        await connection.answer(chunk)


async def _swallow(client: socket.socket, off: asyncio.Event) -> None:
    """Do the same before the handshake of TLS: take in everything and answer nothing."""
    await first(off.wait(), _discard(partial(asyncio.get_running_loop().sock_recv, client)))
    _reset_at_close(client)


async def _cut_off(client: socket.socket) -> None:
    """End within the first message of the handshake."""
    loop = asyncio.get_running_loop()
    await loop.sock_recv(client, CHUNK)  # an end with data unread would be a reset
    await loop.sock_sendall(client, HALF_SERVER_HELLO)


async def _discard(read: Callable[[int], Awaitable[bytes]]) -> None:
    while await read(CHUNK):
        pass


def _reset_at_close(client: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
