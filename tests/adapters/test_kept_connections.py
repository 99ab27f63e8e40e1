"""A connection that is kept is good for the next request, and no request suffers from another one."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from emulator.network.ca import CertificateAuthority
from shared.adapters.addresses import LookUp
from shared.adapters.connections import CONNECTIONS, HEAD_READ_BYTES
from shared.adapters.http import Network, Upstream, client_tls, exactly, read_roots
from shared.core.errors import TimedOut, Unavailable
from shared.core.limits import Limits

NUMBER = b"#"
WARM = 8
"""So many long answers make the system receive 256 KiB at once on a connection."""
LIMITS = Limits()


class Peer:
    """A server that answers every request with the same bytes, in which `#` becomes the number of the request.

    Args:
        answers: what it sends for a request, each in TLS records of its own, and all in one packet.
        lone: how many requests get the first of them alone.
    """

    def __init__(self, *answers: bytes, lone: int = 0) -> None:
        self._answers = answers
        self._lone = lone
        self.connections = 0
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with suppress(OSError):
            while await reader.read(4_096):
                self._requests += 1
                sent = self._answers[: 1 if self._requests <= self._lone else None]
                writer.writelines([answer.replace(NUMBER, b"%d" % self._requests) for answer in sent])
        writer.close()


def facing(peer: Peer, folder: Path, story: Callable[[Upstream, str], Awaitable[None]], *, tls: bool) -> None:
    """Have an app ask a peer on this host."""

    async def run() -> None:
        authority = CertificateAuthority()
        certificate = authority.server_context("localhost") if tls else None
        async with await asyncio.start_server(peer.serve, "localhost", 0, ssl=certificate) as server:
            url = f"http{'s' if tls else ''}://localhost:{server.sockets[0].getsockname()[1]}"
            network = Network(tls=client_tls(read_roots(str(authority.write(folder)))), proxy="", limits=LIMITS)
            try:
                await story(network.upstream("the peer", exactly(url)), url)
            finally:
                await network.aclose()

    asyncio.run(run())


START = b"HTTP/1.1 200 OK\r\nn: #\r\n"
FULL = START + b"a: " + b"b" * (HEAD_READ_BYTES - len(START) - 26) + b"\r\ncontent-length: 0\r\n\r\n"
"""An answer that ends where a read ends."""
ANSWERS = {
    "of a known length": ("GET", START + b"content-length: 1\r\n\r\n#"),
    "of two reads": ("GET", START + b"content-length: 20001\r\n\r\n" + b"x" * 20_000 + b"#"),
    "that fills a read": ("GET", FULL),
    "without a body": ("GET", START + b"content-length: 0\r\n\r\n"),
    "in chunks": ("GET", START + b"transfer-encoding: chunked\r\n\r\n1;a\r\n#\r\n0\r\n\r\n"),
    "with trailers": ("GET", START + b"transfer-encoding: chunked\r\n\r\n1\r\n#\r\n0\r\na: b\r\n\r\n"),
    "after an interim answer": ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\n" + START + b"content-length: 1\r\n\r\n#"),
    "to HEAD": ("HEAD", START + b"content-length: 9\r\n\r\n"),
    "204": ("GET", START.replace(b"200 OK", b"204 No Content") + b"\r\n"),
    "304": ("GET", START.replace(b"200 OK", b"304 Not Modified") + b"content-length: 9\r\n\r\n"),
}
LEFT_OVER = {"nothing": b"", "a copy": None, "one byte": b"\n", "half an answer": b"HTTP/1.1 200 OK\r\nn: 9\r\n"}
"""What follows an answer; None stands for the answer itself."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("left_over", LEFT_OVER.values(), ids=LEFT_OVER)
@pytest.mark.parametrize(("method", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_no_request_gets_the_answer_to_another(
    method: str, answer: bytes, left_over: bytes | None, tmp_path: Path, *, tls: bool
) -> None:
    """A connection with bytes beyond an answer is closed, and one without is kept."""
    beyond = answer if left_over is None else left_over
    peer = Peer(answer, beyond) if beyond else Peer(answer)

    async def story(upstream: Upstream, url: str) -> None:
        for number in ("1", "2", "3"):
            reply = await upstream.send(method, url, headers={})
            assert (reply.headers["n"], reply.body.decode().strip("x")) in {(number, number), (number, "")}

    facing(peer, tmp_path, story, tls=tls)
    assert peer.connections == (3 if beyond else 1)


@pytest.mark.parametrize("size", [52_000, 60_000])
def test_what_follows_an_answer_is_seen_however_long_it_is(size: int, tmp_path: Path) -> None:
    """What asyncio has received beyond a long answer can be a part of a TLS record, which nobody can see."""
    answer = START + b"content-length: %d\r\n\r\n" % size + b"x" * size
    peer = Peer(answer, answer, lone=WARM)

    async def story(upstream: Upstream, url: str) -> None:
        for number in range(1, WARM + 4):
            assert (await upstream.get(url, headers={})).headers["n"] == str(number)

    facing(peer, tmp_path, story, tls=True)


def away(host: str, _: int) -> list[str]:
    """Find no name."""
    raise socket.gaierror(socket.EAI_NONAME, host)


def at_two_addresses(_: str, __: int) -> list[str]:
    """Find two addresses, of which the first one refuses connections."""
    return ["127.0.0.9", "127.0.0.1"]


async def beside(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    story: Callable[[Upstream, str, str], Awaitable[None]],
    *,
    look_up: LookUp,
    limits: Limits = LIMITS,
) -> None:
    """Have an app ask one service at two origins: one that serves like this, and a peer."""
    unusable = ThreadPoolExecutor()
    unusable.shutdown()
    asyncio.get_running_loop().set_default_executor(unusable)  # others fill it; vend needs none of its threads
    peer = Peer(START + b"content-length: 0\r\n\r\n")
    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as one,
        await asyncio.start_server(peer.serve, "127.0.0.1", 0) as other,
    ):
        urls = [
            f"http://{name}.vend.test:{server.sockets[0].getsockname()[1]}"
            for name, server in (("one", one), ("other", other))
        ]
        network = Network(tls=client_tls(""), proxy="", limits=limits, look_up=look_up)
        try:
            await story(network.upstream("Entra", exactly(*urls)), *urls)
        finally:
            await network.aclose()


def test_an_origin_that_hangs_costs_only_itself() -> None:
    """REL-63: requests to a region that hangs take none of the places of the global endpoint."""
    full = asyncio.Semaphore(0)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full.release()
        with suppress(OSError):
            while await reader.read(4_096):
                pass
        writer.close()

    async def story(upstream: Upstream, one: str, other: str) -> None:
        hanging = [asyncio.create_task(upstream.get(one, headers={})) for _ in range(2 * CONNECTIONS)]
        for _ in range(CONNECTIONS):
            await full.acquire()
        assert (await upstream.get(other, headers={})).headers["n"] == "1"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    asyncio.run(beside(hang, story, look_up=lambda *_: ["127.0.0.1"]))


def test_two_deadlines_at_once_leave_no_connection_open() -> None:
    """REL-63: a peer chooses when its silence ends an exchange, such as at the deadline of the whole."""
    closed = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4_096):
            pass
        closed.set()
        writer.close()

    async def story(upstream: Upstream, one: str, _: str) -> None:
        # The loop is busy until just behind the first deadline, and then until behind the second one.
        for begins in (0.25, 0.26):
            asyncio.get_running_loop().call_later(begins, time.sleep, 0.08)
        with pytest.raises(TimedOut):
            await upstream.get(one, headers={})
        async with asyncio.timeout(5):
            await closed.wait()

    limits = Limits(connect_seconds=0.1, read_idle_seconds=0.3, attempt_seconds=0.35)
    asyncio.run(beside(hang, story, look_up=lambda *_: ["127.0.0.1"], limits=limits))


def test_a_request_that_is_given_up_leaves_no_connection_open() -> None:
    """REL-63: at whatever step of its way a caller leaves it."""
    open_now = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        while await reader.read(4_096):
            pass
        open_now -= 1
        writer.close()

    async def story(upstream: Upstream, one: str, _: str) -> None:
        for steps in range(60):
            request = asyncio.create_task(upstream.get(one, headers={}))
            for _step in range(steps):
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.wait([request])
        for _wait in range(100):
            await asyncio.sleep(0.05 if open_now else 0)
        assert open_now == 0

    limits = Limits(connect_seconds=0.1, attempt_seconds=0.5)
    asyncio.run(beside(hang, story, look_up=lambda *_: ["127.0.0.1"], limits=limits))


def test_a_name_that_hangs_costs_only_itself() -> None:
    """A name is looked up once for all its requests, in a thread that no other name needs."""
    looked_up: list[str] = []
    ends = threading.Event()

    def hang(host: str, _: int) -> list[str]:
        looked_up.append(host)
        if host.startswith("one."):
            ends.wait()
        return ["127.0.0.1"]

    async def story(upstream: Upstream, one: str, other: str) -> None:
        try:
            asked = [upstream.get(one, headers={}) for _ in range(CONNECTIONS)]
            ended = await asyncio.gather(*asked, return_exceptions=True)
            assert {(type(error), str(error)) for error in ended} == {(TimedOut, "Entra: timeout")}
            assert looked_up == ["one.vend.test"]
            assert (await upstream.get(other, headers={})).headers["n"] == "1"
        finally:
            ends.set()
        assert (await upstream.get(one, headers={})).status == 200

    limits = Limits(connect_seconds=0.3, attempt_seconds=3)
    asyncio.run(beside(Peer(START + b"content-length: 0\r\n\r\n").serve, story, look_up=hang, limits=limits))


@pytest.mark.parametrize(("look_up", "refused"), [(at_two_addresses, False), (away, True)], ids=["found", "not found"])
def test_every_address_of_a_name_is_tried(look_up: LookUp, *, refused: bool) -> None:
    """A name without any is no connection."""

    async def story(upstream: Upstream, _: str, other: str) -> None:
        for _attempt in range(2):
            with pytest.raises(Unavailable, match="Entra: no connection") if refused else nullcontext():
                await upstream.get(other, headers={})

    asyncio.run(beside(Peer().serve, story, look_up=look_up))
