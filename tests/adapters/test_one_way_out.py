"""What every upstream promises, whoever asks: it stays at its own address, ends in time, and keeps nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID
from shared.adapters.http import Network, Upstream, client_tls, exactly, read_roots
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import ManagedIdentity, SdkCredential
from shared.core.entra.clouds import CLOUDS
from shared.core.entra.jws import Algorithm
from shared.core.errors import OperatorError, TimedOut
from shared.core.limits import Limits
from shared.core.token import AccessToken, TokenKey, Wanted
from shared.system import System

# A second stands for the eight of production: the limits are settings.
LIMITS = Limits(connect_seconds=0.4, read_idle_seconds=1, attempt_seconds=1)


class Doors:
    """The way of one app to its vault, and to its identity."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.network = Network(tls=client_tls(read_roots(str(cloud.ca_file))), proxy="", limits=LIMITS)
        settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}
        self._identity = ManagedIdentity(
            IDENTITY_CLIENT_ID, environ=settings, network=self.network, clock=System().clock
        )
        self.vault = KeyVault(
            cloud.vault_url,
            credential=SdkCredential(self.token, scopes={CLOUDS["public"].vault_scope}),
            upstream=self.network.upstream(NAME, exactly(cloud.vault_url)),
            verify_challenge=False,
            clock=System().clock,
        )

    async def token(self, scope: str, _: str | None) -> AccessToken:
        """Get a token of the app's own."""
        return (await self._identity.acquire(Wanted(TokenKey("", "", scope)))).token

    async def certificate(self) -> None:
        """Ask the vault."""
        await self.vault.certificate_versions(CERTIFICATE)


@pytest.fixture(autouse=True)
def identity(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-identity reads the two variables by itself."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)


def through[T](cloud: LocalCloud, story: Callable[[Doors], Awaitable[T]]) -> T:
    """Run a story through the doors of one app."""

    async def run() -> T:
        doors = Doors(cloud)
        try:
            return await story(doors)
        finally:
            await doors.network.aclose()

    return asyncio.run(run())


def test_a_link_of_the_vault_to_another_host_is_not_followed(cloud: LocalCloud) -> None:
    """FND-A2: the SDK would take the app's token there."""

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


def test_the_deadline_closes_the_socket() -> None:
    """FND-B7: a peer that is given up is disconnected at once, while the app goes on."""

    async def story(upstream: Upstream, url: str, peer: Peer) -> None:
        with pytest.raises(TimedOut):
            await upstream.get(url, headers={})
        await asyncio.wait_for(peer.ended.wait(), 10)

    facing(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", story)
