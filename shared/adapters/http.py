"""The one way out to Entra, Graph and blobs: bounded in time and size, no redirects, no proxy from the environment."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from shared.core.documents.toml import DocumentError
from shared.core.errors import BadAnswer, TimedOut, TlsRefused, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.reply import Reply

CONNECTIONS = 10  # httpx slows down badly beyond about 20 (encode/httpx#3215)


class HttpClient:
    """Sends bytes and brings back bytes.

    Args:
        tls: the client side of TLS.
        proxy: URL; "" for none. Loopback is never proxied.
        limits: the knobs; `attempt_seconds` is for one request as a whole: an answer of one byte a second ends too.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        proxy: str,
        limits: Limits,
    ) -> None:
        self._attempt_seconds = limits.attempt_seconds
        self._body_bytes = limits.upstream_body_bytes
        self._page_bytes = limits.graph_page_bytes
        direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
        pool = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        through = httpx.AsyncHTTPTransport(verify=tls, proxy=proxy, limits=pool) if proxy else None
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(
                limits.attempt_seconds,
                connect=limits.connect_seconds,
                read=limits.read_idle_seconds,
                write=limits.read_idle_seconds,
            ),
            limits=pool,
            mounts={**direct, "all://": through} if through else None,
            headers={"user-agent": "vend", "accept": "application/json", "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        """Send a form.

        Raises:
            Unavailable: no connection, or it broke.
            TimedOut: it took longer than `attempt_seconds`.
            BadAnswer: the answer is too large or no HTTP.
            TlsRefused: TLS did not come about.
        """
        content_type = {"content-type": "application/x-www-form-urlencoded"}
        request = self._client.build_request("POST", url, content=form, headers={**headers, **content_type})
        return await self._exchange(request, self._body_bytes)

    async def get_page(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        """Get a page of Graph's, which may be larger than an answer of Entra's; errors as in `post`."""
        return await self.get(url, headers=headers, body_bytes=self._page_bytes)

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes: int) -> Reply:
        """Get what may have so many bytes; errors as in `post`."""
        return await self._exchange(self._client.build_request("GET", url, headers=headers), body_bytes)

    async def _exchange(self, request: httpx.Request, body_bytes: int) -> Reply:
        try:
            async with asyncio.timeout(self._attempt_seconds):
                return await self._send(request, body_bytes)
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            failure = _meaning(error)
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure

    async def _send(self, request: httpx.Request, body_bytes: int) -> Reply:
        answer = await self._client.send(request, stream=True)
        try:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise BadAnswer(cause="compressed answer")  # not asked for, and its size cannot be known beforehand
            body = bytearray()
            async for chunk in answer.aiter_raw(16 * 1024):
                body += chunk
                if len(body) > body_bytes:
                    raise BadAnswer(cause="answer too large")
        finally:
            await answer.aclose()
        return Reply(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=bytes(body),
        )


def read_roots(ca_file: str) -> str:
    """Return the certificates of `network.ca_file`, or "" where the setting is "".

    Raises:
        DocumentError: the file holds no certificates in PEM.
    """
    if not ca_file:
        return ""
    try:
        roots = Path(ca_file).read_text()
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


def _meaning(error: Exception) -> UpstreamError:
    """Say what a failure of the transport means, without its words."""
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return TimedOut(cause="timeout")
    if not isinstance(error, httpx.ConnectError):
        return Unavailable(cause="broken connection")
    if _is_tls_error(error):
        return TlsRefused(cause="TLS with upstream did not come about")
    return Unavailable(cause="no connection")


def _is_tls_error(error: BaseException) -> bool:
    """Tell whether TLS, not the network, refused: httpx wraps the cause a few layers deep."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
