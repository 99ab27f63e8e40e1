"""Connections to one outside service: HTTP/1.1 by httpcore, with what httpcore does not bound.

Bytes are counted where they arrive, headers, interim answers and the frames of chunks among them. httpcore has no
redirects, no cookies and no environment.

A connection on which more has arrived than its answer is closed: httpcore would take the rest as the answer to the next
request (RFC 9112 section 9.2). httpcore looks for such bytes in the socket, and they can be in three places more: with
h11, with asyncio and in TLS. So a stream takes all that asyncio has, and hands it over without its last byte. h11 comes
for that byte only if the answer needs it. What h11 left, and what TLS has, makes the connection one to close. TLS shows
whole records alone: after an answer so long that asyncio may have the rest of a record, the connection is closed too.

The deadline of an exchange is that of each wait for the other side, so that httpcore ends it by its own timeouts. A
task that is cancelled while httpcore cleans up leaves the connection open: anyio shields from its own scopes alone.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore

from shared.adapters.addresses import Addresses
from shared.core.errors import BadAnswer, TimedOut, TlsRefused, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.reply import Reply

CONNECTIONS = 10  # httpcore slows down badly beyond about 20 (encode/httpx#3215)
KEEPALIVE_SECONDS = 5.0
HEAD_BYTES = 32 * 1024
"""The most that is received until the headers of an answer end, with all interim answers (RFC 9110 section 15.2)."""
READ_BYTES = 16 * 1024
HEAD_READ_BYTES = 4 * 1024
"""The most that is received at once. An interim answer has 25 bytes at least, and is parsed before others run."""
FRAMED = 2
"""How many times the body may be received: chunks have frames (RFC 9112 section 7.1), and good servers long chunks."""
RECEIVED_BYTES = 256 * 1024
"""The most that asyncio receives at once: after a read of so many bytes it has none."""
KEPT_BYTES = 32 * 1024
"""The longest answer after which a connection with TLS is kept: anyio takes 64 KiB at once of what asyncio has."""
PIECES = 512
"""In how many pieces the smallest body may come, and one more for each of `PIECE_BYTES`. A packet makes two of them."""
PIECE_BYTES = 32
PIECES_AT_ONCE = 64
"""Pieces of a body after which the event loop has its turn: they cost time, and none of it is spent waiting."""


class _Unusable(Exception):
    """The answer cannot be used; the text says why, in our own words."""


_FAILURES = (
    _Unusable,
    OSError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)


class Connections:
    """The connections to one origin, directly or through a proxy; they are kept for the next exchange.

    Requests wait for one of the `places`, and never in httpcore's pool: there, one that is cancelled while it waits
    keeps its connection for ever (encode/httpcore#1093).

    Args:
        name: of the service; the cause of each error begins with it.
        tls: the client side of TLS.
        proxy: URL; "" for none.
        limits: the knobs.
        addresses: finds those of a name.
    """

    def __init__(self, name: str, *, tls: ssl.SSLContext, proxy: str, limits: Limits, addresses: Addresses) -> None:
        self.places = asyncio.Semaphore(CONNECTIONS)
        self._name = name
        self._timeout = {
            "connect": limits.connect_seconds,
            "read": limits.read_idle_seconds,
            "write": limits.read_idle_seconds,
        }
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            proxy=_proxy(proxy, tls) if proxy else None,
            max_connections=None,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=_Backend(addresses),
        )

    async def exchange(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes, most: int, until: float
    ) -> Reply:
        """Send a request, and receive an answer with a body of `most` bytes at the most.

        Args:
            method, url, headers, content: of the request.
            most: bytes of the body.
            until: when the exchange ends at the latest, by the clock of the event loop.

        Raises:
            Unavailable: there was no connection, or it broke.
            TimedOut: the service was silent for too long.
            BadAnswer: the answer is too large, comes in too many pieces, or is compressed.
            TlsRefused: TLS failed.
        """
        request = httpcore.Request(
            method,
            _target(url),
            headers=_fields(method, url, headers, content),
            content=content,
            extensions={"timeout": self._timeout},
        )
        try:
            return await self._exchange(request, most, until)
        except _FAILURES as error:
            failure = self._failure(error)
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _exchange(self, request: httpcore.Request, most: int, until: float) -> Reply:
        meter = _Meter(HEAD_BYTES, at_once=HEAD_READ_BYTES, until=until)
        _meter.set(meter)  # of this task alone, or of the one that waits for it
        answer = await self._pool.handle_async_request(request)
        try:
            headers = _headers(answer.headers)
            if headers.get("content-encoding", "identity") != "identity":
                # Not requested, and its size cannot be known beforehand.
                raise _Unusable("compressed answer")
            meter.left, meter.at_once = FRAMED * most, READ_BYTES
            body, pieces = bytearray(), 0
            async for piece in answer.aiter_stream():
                body += piece
                pieces += 1
                if len(body) > most or pieces > PIECES + most // PIECE_BYTES:
                    raise _Unusable("answer too large")
                if pieces % PIECES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            await answer.aclose()
        return Reply(status=answer.status, headers=headers, body=bytes(body))

    def _failure(self, error: Exception) -> UpstreamError:
        """Return what a failure of the transport means, without its words."""
        if isinstance(error, _Unusable):
            return BadAnswer(cause=f"{self._name}: {error}")
        if isinstance(error, httpcore.TimeoutException):
            return TimedOut(cause=f"{self._name}: timeout")
        if not isinstance(error, httpcore.ConnectError):
            return Unavailable(cause=f"{self._name}: broken connection")
        if _is_tls_error(error):
            return TlsRefused(cause=f"{self._name}: TLS failed")
        return Unavailable(cause=f"{self._name}: no connection")


@dataclass(slots=True)
class _Meter:
    """The bytes that an exchange may still receive, in all and at once; until when; and those that it has received."""

    left: int
    at_once: int
    until: float
    received: int = 0

    def seconds(self, timeout: float | None) -> float:
        """Return for how long the exchange may wait for the other side, where it would wait so long by itself."""
        left = max(self.until - asyncio.get_running_loop().time(), 0.0)
        return left if timeout is None else min(timeout, left)


_meter: ContextVar[_Meter] = ContextVar("meter")
"""The meter of the exchange that is under way in this task."""


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens connections that count what they receive: httpcore itself bounds no interim answers and no frames."""

    def __init__(self, addresses: Addresses) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._addresses = addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's protocol
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> "_Stream":
        # Only the look-up is cancelled when the time is over: a connection that is cancelled may be left open.
        loop = asyncio.get_running_loop()
        until = loop.time() + _meter.get().seconds(timeout)
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._addresses.of(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError from error
        for others in range(len(addresses) - 1, 0, -1):
            left = max(until - loop.time(), 0.0) / 2
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                address = addresses[-1 - others]
                return _Stream(await self._inner.connect_tcp(address, port, left, local_address, socket_options))
        left = max(until - loop.time(), 0.0)
        return _Stream(await self._inner.connect_tcp(addresses[-1], port, left, local_address, socket_options))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection on which each exchange receives as much as its meter allows."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._rest = b""  # received and not handed over
        self._received = 0  # in the last exchange

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # as above
        meter = _meter.get()
        if meter.seconds(timeout) == 0:  # of a service that always has a next byte
            raise httpcore.ReadTimeout
        await asyncio.sleep(0)  # bytes that have arrived already are read without a turn of the event loop
        rest = self._rest or await self._inner.read(RECEIVED_BYTES, meter.seconds(timeout))
        size = min(max_bytes, meter.at_once, max(len(rest) - 1, 1))
        received, self._rest = rest[:size], rest[size:]
        meter.left -= len(received)
        meter.received += len(received)
        self._received = meter.received
        if meter.left < 0:
            raise _Unusable("answer too large")
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as above
        await self._inner.write(buffer, _meter.get().seconds(timeout))

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as above
    ) -> "_Stream":
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, _meter.get().seconds(timeout)))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  # whatever the connection knows
        known = self._inner.get_extra_info(info)
        if info == "is_readable":  # httpcore closes a connection that is idle and readable
            tls = self._inner.get_extra_info("ssl_object")
            return known or bool(self._rest) or (tls is not None and (self._received > KEPT_BYTES or _has_more(tls)))
        return known


def _has_more(tls: ssl.SSLObject) -> bool:
    """Return whether TLS holds bytes that nobody has read, or an end; one byte is lost by it."""
    with suppress(ssl.SSLError):
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
    return True


def _is_tls_error(error: BaseException) -> bool:
    """Return whether TLS, not the network, refused: httpcore wraps the cause a few layers deep."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _proxy(url: str, tls: ssl.SSLContext) -> httpcore.Proxy:
    """Return the proxy of a URL, which may hold a user name and a password."""
    parts = urlsplit(url)
    user = (unquote(parts.username or ""), unquote(parts.password or ""))
    origin = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target="")
    return httpcore.Proxy(
        origin, auth=user if any(user) else None, ssl_context=tls if parts.scheme == "https" else None
    )


def _target(url: str) -> httpcore.URL:
    """Return what is asked for: path and query as they are (RFC 9112 section 3.2.1), and no fragment."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target)


def _fields(method: str, url: str, headers: Mapping[str, str], content: bytes) -> list[tuple[str, str]]:
    """Return all headers of a request."""
    length = {"content-length": str(len(content))} if content or method in {"POST", "PUT", "PATCH"} else {}
    return [("host", urlsplit(url).netloc), *headers.items(), *length.items()]


def _headers(received: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of an answer by their names in lower case; those of one name are one list (RFC 9110 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in received:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
