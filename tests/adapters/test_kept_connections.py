"""A connection that is kept is good for the next request, and no request suffers from another one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from emulator.network.ca import CertificateAuthority
from shared.adapters.connections import HEAD_READ_BYTES
from shared.adapters.http import Network, Upstream, client_tls, exactly, read_roots
from shared.core.limits import Limits

NUMBER = b"#"
LIMITS = Limits()


class Peer:
    """A server that answers every request with the same bytes, in which `#` becomes the number of the request.

    Args:
        answers: what it sends for a request, each in a TLS record of its own, and all in one packet.
    """

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.connections = 0
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with suppress(OSError):
            while await reader.read(4_096):
                self._requests += 1
                writer.writelines([answer.replace(NUMBER, b"%d" % self._requests) for answer in self._answers])
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
