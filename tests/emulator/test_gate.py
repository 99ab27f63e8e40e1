import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CoroutineType
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from emulator.network import gate
from emulator.network.ca import CertificateAuthority
from emulator.network.faults import Fault, HttpFaults, Kind, Switch
from emulator.network.flaws import Flaw, ServerTls
from emulator.network.gate import Gate
from emulator.network.serve import HOST, Background

CLIENTS = 12
"""Of each state: one alone seldom meets the moment in which a close goes wrong."""
SECONDS_TO_CLOSE = 5
ANSWERING = {Kind.DRIP, Kind.ENDLESS_HEADERS}
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_CLIENT_HELLO = bytes.fromhex("16030100c8 010000c4 0303")


@dataclass
class Part:
    """A part behind a gate that a test opens and closes."""

    background: Background
    gate: Gate
    switch: Switch
    trust: ssl.SSLContext

    def connect(self) -> socket.socket:
        """Open a connection, and send nothing."""
        return socket.create_connection((HOST, self.gate.port), timeout=SECONDS_TO_CLOSE)

    def shake_hands(self) -> socket.socket:
        """Open a connection over TLS."""
        return self.trust.wrap_socket(self.connect(), server_hostname="localhost")

    async def close(self) -> None:
        """Close the gate, in time.

        Raises:
            TimeoutError: it takes too long.
        """
        async with asyncio.timeout(SECONDS_TO_CLOSE):
            await self.gate.close()

    async def tasks_left(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the network that have not ended."""
        folder = str(Path(gate.__file__).parent)
        coroutines = {task: task.get_coro() for task in asyncio.all_tasks()}
        return [task for task, coroutine in coroutines.items() if _file(coroutine).startswith(folder)]


def _file(coroutine: object) -> str:
    """Return the file that a coroutine was written in."""
    return coroutine.cr_code.co_filename if isinstance(coroutine, CoroutineType) else ""


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer until the client disconnects."""

    async def padding() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536
            await asyncio.sleep(0)

    await StreamingResponse(padding())(scope, receive, send)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """A part with TLS whose answers have no end."""
    ca = CertificateAuthority()
    with Background() as background:
        switch = Switch(background.run)
        closed = Gate(switch, tls=ServerTls(ca, ("localhost",)))
        background.run(closed.open(background.serve(HttpFaults(endless, switch))))
        yield Part(background, closed, switch, ssl.create_default_context(cafile=str(ca.write(tmp_path))))


def silent(part: Part) -> socket.socket:
    """Begin no handshake."""
    return part.connect()


def half_a_handshake(part: Part) -> socket.socket:
    """Stop in the middle of the first message."""
    client = part.connect()
    client.sendall(HALF_CLIENT_HELLO)
    return client


def gone_in_the_handshake(part: Part) -> socket.socket:
    """Leave in the middle of the first message."""
    client = half_a_handshake(part)
    client.shutdown(socket.SHUT_WR)
    return client


def idle(part: Part) -> socket.socket:
    """Ask nothing."""
    return part.shake_hands()


def half_a_request(part: Part) -> socket.socket:
    """Stop in the middle of a header."""
    client = part.shake_hands()
    client.sendall(REQUEST[:20])
    return client


def not_reading(part: Part) -> socket.socket:
    """Ask, and read only the beginning of the answer: every buffer on the way is full."""
    client = part.shake_hands()
    client.sendall(REQUEST)
    client.recv(10)
    return client


def gone_with_an_answer(part: Part) -> socket.socket:
    """Ask, and say that nothing more will be sent."""
    client = not_reading(part)
    client.shutdown(socket.SHUT_WR)
    return client


FIRST_STATES: tuple[Callable[[Part], socket.socket], ...] = (gone_in_the_handshake, half_a_handshake, silent)
STATES = (
    *FIRST_STATES,
    idle,
    half_a_request,
    not_reading,
    gone_with_an_answer,
)


def has_ended(client: socket.socket) -> bool:
    """Return whether the other side is gone, once what it sent before is read."""
    try:
        while client.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass  # a reset, or an end in the middle of a TLS record
    return True


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(kind=Kind.BLACK_HOLE),
        Fault(kind=Kind.DRIP, bytes_per_second=10),
        Fault(kind=Kind.ENDLESS_HEADERS),
        Fault(kind=Kind.HOLD),
        Fault(kind=Kind.DELAY, seconds=60),
        Fault(kind=Kind.TLS, flaw=Flaw.CUT_OFF),
        Fault(kind=Kind.REFUSE),
    ],
    ids=lambda fault: fault.kind if fault else "healthy",
)
def test_a_gate_closes_whatever_its_clients_do(part: Part, fault: Fault | None) -> None:
    """A close ends in time, and leaves no task and no connection, in whatever state the clients are."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(state(part)) for state in STATES for _ in range(CLIENTS)]
        asking = [stack.enter_context(idle(part)) for _ in range(CLIENTS)]
        if fault:
            part.switch.set(fault)
        for client in asking:
            with contextlib.suppress(OSError):  # some faults end what was there before
                client.sendall(REQUEST)
                if fault and fault.kind in ANSWERING:
                    client.recv(1)
        if fault is None or fault.kind is not Kind.REFUSE:
            # These come with the fault on, the last of them at the moment of the close.
            clients += [stack.enter_context(state(part)) for state in FIRST_STATES for _ in range(CLIENTS)]

        part.background.run(part.close())

        assert part.background.run(part.tasks_left()) == []
        assert all(has_ended(client) for client in clients + asking)
    with pytest.raises(ConnectionRefusedError):
        part.connect()
