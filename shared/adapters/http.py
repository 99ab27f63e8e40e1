"""The one way out: every byte that leaves this process goes through an `Upstream`.

An upstream has a name for events, the origins where it may be asked, and connections of its own to each. Each exchange
is bounded as a whole, by size (`connections.py`) and by a deadline that closes its socket. There are no redirects, no
cookies, no .netrc and no proxy from the environment.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from shared.adapters.addresses import Addresses, LookUp, look_up
from shared.adapters.connections import Connections
from shared.adapters.file import read_file
from shared.core.documents.toml import DocumentError
from shared.core.errors import OperatorError, TimedOut
from shared.core.limits import Limits
from shared.core.origins import Origin, origin_of
from shared.core.reply import Reply

ROOTS_BYTES = 1024 * 1024
"""The most that is read of `network.ca_file`: four times the roots of a machine."""
SPARE_SECONDS = 1.0
"""How much longer an exchange may take until it is cancelled: it ends by itself before, and cleans up."""
_HEADERS = {"user-agent": "vend", "accept": "application/json", "accept-encoding": "identity"}

type Allows = Callable[[Origin], bool]


class Network:
    """The settings that all upstreams share.

    Args:
        tls: the client side of TLS.
        proxy: URL; "" for none. Loopback is never proxied.
        limits: the knobs.
        look_up: returns the addresses of a name.
    """

    def __init__(self, *, tls: ssl.SSLContext, proxy: str, limits: Limits, look_up: LookUp = look_up) -> None:
        self._tls = tls
        self._proxy = proxy
        self._limits = limits
        self._addresses = Addresses(look_up)
        self._upstreams: list[Upstream] = []

    def upstream(
        self, name: str, allows: Allows, *, fault: str = "", proxied: bool = True, limits: Limits | None = None
    ) -> "Upstream":
        """Return a new upstream.

        Args:
            name: of the service, as operators know it.
            allows: whether an origin may be asked.
            fault: why nothing may be asked at all; "" if that is not so.
            proxied: whether the proxy of the settings is used.
            limits: the knobs; by default those of the network.
        """
        knobs = limits or self._limits

        def connections(origin: Origin) -> Connections:
            proxy = self._proxy if proxied and not origin.is_loopback else ""
            return Connections(name, tls=self._tls, proxy=proxy, limits=knobs, addresses=self._addresses)

        made = Upstream(name, allows, fault=fault, connections=connections, limits=knobs)
        self._upstreams.append(made)
        return made

    async def aclose(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams:
            await upstream.aclose()


class Upstream:
    """One outside service. Its origins share nothing: a region that hangs has no effect on the global endpoint.

    Args:
        name: of the service; the cause of each error begins with it.
        allows: whether an origin may be asked.
        fault: why nothing may be asked at all; "" if that is not so.
        connections: makes those to one origin.
        limits: the knobs; `attempt_seconds` is for one exchange as a whole: an answer of one byte a second ends too.
    """

    def __init__(
        self,
        name: str,
        allows: Allows,
        *,
        fault: str,
        connections: Callable[[Origin], Connections],
        limits: Limits,
    ) -> None:
        self._name = name
        self._fault = fault
        self._allows = allows
        self._seconds = limits.attempt_seconds
        self._body_bytes = limits.upstream_body_bytes
        # A request that has waited longer would have no time left for its handshake.
        self._longest_wait = limits.attempt_seconds - 2 * limits.connect_seconds
        self._connections_to = connections
        self._connections: dict[Origin, Connections] = {}
        self._exchanges: set[asyncio.Task[Reply]] = set()

    async def post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        """Send a form; errors as in `send`."""
        content_type = {"content-type": "application/x-www-form-urlencoded"}
        return await self.send("POST", url, headers={**headers, **content_type}, content=form)

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes: int | None = None) -> Reply:
        """Get an answer of at most so many bytes; errors as in `send`."""
        return await self.send("GET", url, headers=headers, body_bytes=body_bytes)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        body_bytes: int | None = None,
    ) -> Reply:
        """Send a request.

        Args:
            method, url, headers, content: of the request.
            body_bytes: the largest answer; by default `upstream_body_bytes`.

        Raises:
            OperatorError: the URL is not one of this upstream's; nothing was sent.
            Unavailable: there was no connection, or it broke.
            TimedOut: the exchange took longer than `attempt_seconds`.
            BadAnswer: the answer is too large, comes in too many pieces, or is compressed.
            TlsRefused: TLS failed.
        """
        origin = origin_of(url)
        if self._fault:
            raise OperatorError(cause=f"{self._name}: {self._fault}")
        if origin is None or not self._allows(origin):
            raise OperatorError(cause=f"{self._name}: the address is not one of this service")
        connections = self._connections.get(origin)
        if connections is None:
            connections = self._connections[origin] = self._connections_to(origin)
        until = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout(self._longest_wait):
                await connections.places.acquire()
        except TimeoutError:
            pass
        else:
            work = connections.exchange(
                method,
                url,
                headers=_HEADERS | dict(headers),
                content=content,
                most=body_bytes or self._body_bytes,
                until=until,
            )
            # A task of its own, which goes on where the caller leaves: httpcore loses a connection that is cancelled.
            exchange = asyncio.create_task(self._bounded(work, until))
            self._exchanges.add(exchange)  # the event loop alone would not keep it
            exchange.add_done_callback(self._exchanges.discard)
            exchange.add_done_callback(partial(_give_back, connections.places))
            return await asyncio.shield(exchange)
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise self._timed_out()

    async def _bounded(self, work: Coroutine[Any, Any, Reply], until: float) -> Reply:
        """Cancel an exchange that does not end by itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until + SPARE_SECONDS):
                return await work
        raise self._timed_out()

    def _timed_out(self) -> TimedOut:
        return TimedOut(cause=f"{self._name}: timeout")

    async def aclose(self) -> None:
        """Close every connection."""
        for connections in self._connections.values():
            await connections.aclose()


def _give_back(places: asyncio.Semaphore, exchange: asyncio.Task[Reply]) -> None:
    """Free the place of an exchange that has ended; nobody may wait for it any more."""
    places.release()
    if not exchange.cancelled():
        exchange.exception()


def exactly(*urls: str) -> Allows:
    """Return a rule that allows the origins of these URLs and no other."""
    allowed = frozenset(origin for url in urls if (origin := origin_of(url)))
    return allowed.__contains__


def read_roots(ca_file: str) -> str:
    """Return the certificates of `network.ca_file`, or "" where the setting is "".

    Raises:
        DocumentError: the file holds no certificates in PEM, or is larger than `ROOTS_BYTES`.
    """
    if not ca_file:
        return ""
    try:
        content = read_file(Path(ca_file), most=ROOTS_BYTES)
        roots = content.decode() if len(content) <= ROOTS_BYTES else ""
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=roots)
    except (OSError, ValueError):
        raise DocumentError(["network.ca_file: is no file of PEM certificates"]) from None
    return roots


def client_tls(roots: str) -> ssl.SSLContext:
    """Return the client side of TLS: the system's roots, and others in PEM."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if roots:
        context.load_verify_locations(cadata=roots)
    return context
