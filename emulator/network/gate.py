"""The front door of one part: ends TLS, passes bytes on to the server behind it, and fails as a network does.

The server behind speaks plain HTTP on a loopback port of its own, so the bytes counted here are those of HTTP.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Coroutine
from typing import Any

from emulator.network.faults import CONNECTION_KINDS, Fault, Kind, Switch
from emulator.network.flaws import HALF_SERVER_HELLO, Flaw, ServerTls
from emulator.network.serve import HOST, listening_socket

CHUNK = 65536
BACKLOG = 128
TICKS_PER_SECOND = 10
SECONDS_TO_PART = 1.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: close() sends RST instead of FIN


class Connection:
    """One client's connection; a fault that was taken stays with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.task = asyncio.current_task()
        self._fault: Fault | None = None
        self._off = asyncio.Event()
        self._passed = 0

    @property
    def fault(self) -> Fault | None:
        """What is to happen to it, unless that was switched off since."""
        return None if self._off.is_set() else self._fault

    def suffer(self, fault: Fault, off: asyncio.Event) -> None:
        """Take on a fault until `off`."""
        self._fault, self._off, self._passed = fault, off, 0

    def reset(self) -> None:
        """End it with RST, as a firewall or a dying peer does."""
        if (client := self.writer.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):  # the client was faster
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()

    async def swallow(self) -> None:
        """Take in everything and answer nothing, until the fault is off or the client gives up."""
        await _first(self._off.wait(), _discard(self.reader))
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

    async def _drip(self, chunk: bytes, bytes_per_second: int) -> None:
        size = max(1, bytes_per_second // TICKS_PER_SECOND)
        for piece in itertools.batched(chunk, size, strict=False):
            await self._send(bytes(piece))
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
        # Bound and not listening: the system refuses connections, and nobody else can take the port.
        self._reserved: socket.socket | None = listening_socket(port)
        self.port: int = self._reserved.getsockname()[1]
        self._behind = 0
        self._server: asyncio.Server | None = None
        self._live: set[Connection] = set()
        switch.follow(self._turned)

    async def open(self, behind: int) -> None:
        """Start to pass connections on to the server at this loopback port."""
        self._behind = behind
        await self._listen()

    async def close(self) -> None:
        """Let go of what a fault holds, reset everything and give the port back."""
        await self._switch.turn(None)
        server = self._server
        await self._refuse()
        if server:
            await server.wait_closed()
        await asyncio.gather(*(connection.task for connection in self._live if connection.task))
        if self._reserved:
            self._reserved.close()

    async def _turned(self, fault: Fault | None) -> None:
        if fault and fault.kind is Kind.REFUSE:
            await self._refuse()
        elif self._reserved:
            await self._listen()
        if fault and fault.kind is Kind.TLS:
            self._reset_all()  # those that are live have shaken hands already

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._reserved, backlog=BACKLOG)
        self._reserved = None

    async def _refuse(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self._reserved = listening_socket(self.port)
        self._reset_all()
        server.abort_clients()  # those accepted a moment ago, which are in no list yet

    def _reset_all(self) -> None:
        for connection in self._live:
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._live.add(connection)
        try:
            await self._pass_on(connection)
        except OSError:
            pass  # either side may go at any time
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._live.discard(connection)

    async def _pass_on(self, connection: Connection) -> None:
        if taken := self._switch.take(frozenset({Kind.BLACK_HOLE})):
            connection.suffer(*taken)
            await connection.swallow()
            return
        if self._tls and not await self._shake_hands(connection, self._tls):
            return
        answers, requests = await asyncio.open_connection(HOST, self._behind)
        try:
            await _first(self._requests(connection, requests), _answers(connection, answers))
        finally:
            requests.close()
            with contextlib.suppress(OSError):
                await requests.wait_closed()

    async def _shake_hands(self, connection: Connection, tls: ServerTls) -> bool:
        taken = self._switch.take(frozenset({Kind.TLS}))
        if taken and taken[0].flaw is Flaw.CUT_OFF:
            await connection.reader.read(CHUNK)  # an end with data unread would be a reset
            connection.writer.write(HALF_SERVER_HELLO)
            return False
        context = tls.flawed(taken[0].flaw) if taken else tls.good
        transport = connection.writer.transport
        try:
            await connection.writer.start_tls(context, ssl_shutdown_timeout=SECONDS_TO_PART)
        except AttributeError:
            # A client that leaves during the handshake makes asyncio give the writer None for its transport.
            vars(connection.writer)["_transport"] = transport
            return False
        return True

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


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK):
        pass


async def _first(*work: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has ended, in whatever way, and stop the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
