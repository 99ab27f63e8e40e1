"""What every upstream promises, whoever asks: it stays at its own address, ends in time, and keeps nothing."""

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import pytest

from cli.http import ANSWER_BYTES, NoAnswer
from cli.http import send as ask_as_operator
from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import APP_RESOURCE_ID, CERTIFICATE, CONTAINER, IDENTITY_CLIENT_ID
from shared.adapters import blob
from shared.adapters.blob import BlobSource
from shared.adapters.connections import CONNECTIONS, HEAD_BYTES, HEAD_READ_BYTES
from shared.adapters.http import Network, Upstream, client_tls, exactly, read_roots
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import ManagedIdentity
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.entra.clouds import CLOUDS, STORAGE_SCOPE
from shared.core.entra.jws import Algorithm
from shared.core.errors import BadAnswer, OperatorError, TimedOut, Unavailable
from shared.core.limits import Limits
from shared.core.token import AccessToken, TokenKey, Wanted
from shared.system import System

# These seconds stand for the eight of production, and for the thirty of the command line: both are settings.
SECONDS = 1.5
LIMITS = Limits(connect_seconds=0.35, read_idle_seconds=SECONDS, attempt_seconds=SECONDS)
SECONDS_TO_SPARE = 10
"""How late an end may be noticed on a busy machine: a whole answer would drip for longer."""
DOCUMENT = "callers.toml"


class Doors:
    """The ways out of one app, and of one operator, each with the part of the cloud that it leads to."""

    def __init__(self, cloud: LocalCloud, limits: Limits = LIMITS) -> None:
        self._cloud = cloud
        self.network = Network(tls=client_tls(read_roots(str(cloud.ca_file))), proxy="", limits=limits)
        settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}
        self._identity = ManagedIdentity(
            IDENTITY_CLIENT_ID, environ=settings, network=self.network, clock=System().clock
        )
        self._tokens: dict[str, AccessToken] = {}
        self.vault = KeyVault(
            cloud.vault_url,
            get_token=partial(self.token, CLOUDS["public"].vault_scope),
            upstream=self.network.upstream(NAME, exactly(cloud.vault_url)),
            clock=System().clock,
        )
        self._blob = BlobSource(
            f"{cloud.blob_url}/{CONTAINER}/{DOCUMENT}",
            get_token=lambda rejected: self.token(STORAGE_SCOPE, rejected),
            get=self.network.upstream(blob.NAME, exactly(cloud.blob_url)).get,
        )
        self._entra = self.network.upstream("Entra", exactly(cloud.authority))
        self._graph = self.network.upstream("Graph", exactly(cloud.graph_url))

    async def token(self, scope: str, _: str | None) -> AccessToken:
        """Return a token of the app's own, which is asked for once."""
        if scope not in self._tokens:
            self._tokens[scope] = await self._acquire(scope)
        return self._tokens[scope]

    async def entra(self) -> None:
        """Ask Entra."""
        await self._entra.get(f"{self._cloud.authority}/common/v2.0/.well-known/openid-configuration", headers={})

    async def certificate(self) -> None:
        """Ask the vault."""
        await self.vault.certificate_versions(CERTIFICATE)

    async def identity(self) -> None:
        """Ask the managed identity."""
        await self._acquire(STORAGE_SCOPE)

    async def blob(self) -> None:
        """Ask the blob service."""
        await self._blob.read("")

    async def graph(self) -> None:
        """Ask Graph."""
        await self._graph.get(f"{self._cloud.graph_url}/v1.0/users/delta", headers={})

    async def management(self) -> None:
        """Ask Azure Resource Manager as an operator does; routes of the app are asked by the same function."""
        request = httpx.Request("POST", f"{self._cloud.management_url}{APP_RESOURCE_ID}/host/default/listkeys")
        await asyncio.to_thread(ask_as_operator, request, ca_file=str(self._cloud.ca_file), seconds=SECONDS)

    async def _acquire(self, scope: str) -> AccessToken:
        return (await self._identity.acquire(Wanted(TokenKey("", "", scope)))).token


ASK: dict[str, Callable[[Doors], Awaitable[None]]] = {
    "entra": Doors.entra,
    "vault": Doors.certificate,
    "identity": Doors.identity,
    "blob": Doors.blob,
    "graph": Doors.graph,
    "management": Doors.management,
}


WITHIN_BODY = {"management": 150}
APP = tuple(part for part in ASK if part != "management")
"""Those that the app asks, over connections that it keeps; a command opens one for each request."""


def through[T](cloud: LocalCloud, story: Callable[[Doors], Awaitable[T]], limits: Limits = LIMITS) -> T:
    """Run a story through the doors of one app."""

    async def run() -> T:
        doors = Doors(cloud, limits)
        try:
            return await story(doors)
        finally:
            await doors.network.aclose()

    cloud.blob.write(CONTAINER, DOCUMENT, b"# Nobody.\n" * 50)
    return asyncio.run(run())


@contextmanager
def all_suffering(cloud: LocalCloud, fault: Callable[[int], Fault]) -> Iterator[None]:
    """Have every part suffer from a fault for a while; it is told how many bytes into an answer are in its body."""
    for part in ASK:
        cloud.faults[part].set(fault(WITHIN_BODY.get(part, 450)))
    try:
        yield
    finally:
        for part in ASK:
            cloud.faults[part].clear()


async def attempt(doors: Doors, part: str) -> BaseException | None:
    """Ask a part once, and return the error."""
    try:
        await ASK[part](doors)
    except Exception as error:  # noqa: BLE001  # whatever it is, a test compares it
        return error
    return None


async def all_serve(doors: Doors) -> bool:
    """Return whether every part answers, each within three attempts: on a busy machine one may come too late."""
    ended = [await all_at_once(doors) for _ in range(3)]
    return all(any(error is None for each in ended for error in each[part]) for part in ASK)


async def all_at_once(
    doors: Doors, parts: Sequence[str] = tuple(ASK), *, times: int = 1
) -> dict[str, list[BaseException | None]]:
    """Ask parts at the same time, so many times each; return the errors of each."""
    ended = await asyncio.gather(*(attempt(doors, part) for part in parts for _ in range(times)))
    return {part: ended[number * times : (number + 1) * times] for number, part in enumerate(parts)}


def dripping(_: int) -> Fault:
    """Drip from the first byte."""
    return Fault(kind=Kind.DRIP, bytes_per_second=10)


ENDINGS: list[tuple[str, Callable[[int], Fault], type[Exception], str, str]] = [
    ("endless body", lambda _: Fault(kind=Kind.ENDLESS), BadAnswer, "answer too large", "answers without an end"),
    ("endless headers", lambda _: Fault(kind=Kind.ENDLESS_HEADERS), BadAnswer, "answer too large", "broke off"),
    ("dripping headers", dripping, TimedOut, "timeout", "did not answer within 1.5 s"),
    (
        "dripping body",
        lambda body: Fault(kind=Kind.DRIP, bytes_per_second=10, after_bytes=body),
        TimedOut,
        "timeout",
        "did not answer within 1.5 s",
    ),
    ("black hole", lambda _: Fault(kind=Kind.BLACK_HOLE), TimedOut, "timeout", "did not answer within 1.5 s"),
    ("cut headers", lambda _: Fault(kind=Kind.CUT, after_bytes=40), Unavailable, "broken connection", "broke off"),
    ("cut body", lambda body: Fault(kind=Kind.CUT, after_bytes=body), Unavailable, "broken connection", "broke off"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "meaning", "cause", "told"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS]
)
def test_no_answer_is_without_end(
    cloud: LocalCloud, fault: Callable[[int], Fault], meaning: type[Exception], cause: str, told: str
) -> None:
    """FND-B6, FND-B7, REL-63: each part is given up in time, its answer costs little, and the next request is good."""

    async def story(doors: Doors) -> None:
        assert await all_serve(doors)
        with all_suffering(cloud, fault):
            began = time.monotonic()
            tracemalloc.start()
            try:
                ended = await all_at_once(doors)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert time.monotonic() - began < SECONDS + SECONDS_TO_SPARE
        assert peak < 2 * (ANSWER_BYTES + DOCUMENT_BYTES + len(ASK) * LIMITS.upstream_body_bytes)
        operators, apps = ended.pop("management"), ended
        assert {type(error) for errors in apps.values() for error in errors} == {meaning}
        assert all(str(error).endswith(cause) for errors in apps.values() for error in errors)
        assert isinstance(operators[0], NoAnswer)
        assert told in str(operators[0])
        assert await all_serve(doors)

    through(cloud, story)


@pytest.mark.slow
def test_twenty_dripping_connections_leave_room_for_the_next(cloud: LocalCloud) -> None:
    """FND-B7: as many requests as hold a place or wait for one may be given up, again and again; none keeps its place.

    httpcore's pool never gives up a connection whose request is cancelled while it waits: encode/httpcore#1093.
    """
    assert CONNECTIONS < 20

    async def story(doors: Doors) -> None:
        assert await all_serve(doors)
        with all_suffering(cloud, dripping):
            for _ in range(2):
                ended = await all_at_once(doors, APP, times=20)
                assert {type(error) for errors in ended.values() for error in errors} == {TimedOut}
        assert await all_serve(doors)

    through(cloud, story)


def test_a_link_of_the_vault_to_another_host_is_not_followed(cloud: LocalCloud) -> None:
    """FND-A2: the app's token would go there."""

    async def story(doors: Doors) -> None:
        body = f'{{"value": [], "nextLink": "{cloud.blob_url}/configuration/callers.toml"}}'
        cloud.faults["vault"].set(Fault(kind=Kind.STATUS, status=200, body=body))
        try:
            with pytest.raises(OperatorError, match="the address is not one of this service"):
                await doors.certificate()
        finally:
            cloud.faults["vault"].clear()

    before = len(cloud.blob.requests)
    through(cloud, story)
    assert len(cloud.blob.requests) == before


def test_a_key_in_another_vault_does_not_sign(cloud: LocalCloud) -> None:
    """FND-A2: the key id of a certificate's answer says where its key is, and is not believed."""

    async def story(doors: Doors) -> None:
        with pytest.raises(OperatorError, match="the address is not one of this service"):
            await doors.vault.sign(f"{cloud.blob_url}/keys/{CERTIFICATE}/1", bytes(32), Algorithm.PS256)

    before = len(cloud.blob.requests)
    through(cloud, story)
    assert len(cloud.blob.requests) == before


class Peer:
    """A server that answers every request with the same bytes, and then says no more.

    Args:
        answer: the bytes.
    """

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(ConnectionError):
            while head := await reader.read(4_096):
                self.requests.append(head)
                writer.write(self._answer)
        writer.close()
        self.ended.set()


def facing(answer: bytes, story: Callable[[Upstream, str, Peer], Awaitable[None]]) -> None:
    """Have an app ask such a peer on this host."""

    async def run() -> None:
        peer = Peer(answer)
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            network = Network(tls=client_tls(""), proxy="", limits=LIMITS)
            try:
                await story(network.upstream("the peer", exactly(url)), url, peer)
            finally:
                await network.aclose()

    asyncio.run(run())


def test_no_cookie_is_kept() -> None:
    """FND-A4: an upstream that sets cookies gets none of them back."""

    async def story(upstream: Upstream, url: str, peer: Peer) -> None:
        for path in ("/", "/", "/other"):
            assert (await upstream.get(url + path, headers={})).headers["set-cookie"] == "a=1; Path=/"
        assert len(peer.requests) == 3
        assert not any(b"cookie" in request.lower() for request in peer.requests)

    facing(b"HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\ncontent-length: 0\r\n\r\n", story)


@pytest.mark.slow
def test_the_deadline_closes_the_socket() -> None:
    """FND-B7: a peer that is given up is disconnected at once, while the app goes on."""

    async def story(upstream: Upstream, url: str, peer: Peer) -> None:
        with pytest.raises(TimedOut):
            await upstream.get(url, headers={})
        await asyncio.wait_for(peer.ended.wait(), 10)

    facing(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", story)


START, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
MANY = 40_000
"""How often a small part of an answer is repeated."""
BODY_BYTES = 40_000


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * MANY,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n" * MANY,
        START + b"a: b\r\n" * (HEAD_BYTES // 6) + b"content-length: 0\r\n\r\n",
        START + b"a: " + b"b" * HEAD_BYTES + b"\r\ncontent-length: 0\r\n\r\n",
        CHUNKED + b"1\r\nx\r\n" * MANY,
        CHUNKED + (b"1;" + b"x" * 4_000 + b"\r\nx\r\n") * 100,
        CHUNKED + b"1;" + b"x" * 1_000_000,
        CHUNKED + b"0\r\n" + b"a: b\r\n" * MANY,
    ],
    ids=[
        "interim answers",
        "early hints",
        "many headers",
        "a long header",
        "tiny chunks",
        "long frames",
        "an endless frame",
        "endless trailers",
    ],
)
def test_every_byte_of_an_answer_counts(answer: bytes) -> None:
    """FND-B6: headers, interim answers, frames and trailers cost time too, and other requests have their turn."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def story(upstream: Upstream, url: str, peer: Peer) -> None:
        others = asyncio.create_task(take_turns())
        with pytest.raises(BadAnswer, match="the peer: answer too large"):
            await upstream.get(url, headers={}, body_bytes=BODY_BYTES)
        others.cancel()
        await asyncio.wait_for(peer.ended.wait(), 10)

    facing(answer, story)
    assert turns > HEAD_BYTES // HEAD_READ_BYTES


def test_small_parts_of_a_good_answer_are_put_together() -> None:
    """An answer of a thousand chunks with headers of 30 KB is as good as any."""
    head = START + b"a: " + b"b" * 30_000 + b"\r\na: c\r\ntransfer-encoding: chunked\r\n\r\n"

    async def story(upstream: Upstream, url: str, _: Peer) -> None:
        reply = await upstream.get(url, headers={})
        assert (reply.body, reply.headers["a"]) == (b"x" * 1_000, "b" * 30_000 + ", c")

    facing(head + b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n", story)
