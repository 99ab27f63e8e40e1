"""The one way out: every byte that leaves this process, those of the Azure SDKs too, goes through an `Upstream`.

An upstream has a name for events, the origins where it may be asked, and a transport of its own. Each exchange is
bounded as a whole: by size, and by a deadline that closes its socket. There are no redirects, no cookies, no .netrc and
no proxy from the environment, because httpx's transport, unlike its client, has none of them.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from shared.core.documents.toml import DocumentError
from shared.core.errors import BadAnswer, OperatorError, TimedOut, TlsRefused, Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.origins import Origin, origin_of
from shared.core.reply import Reply

CONNECTIONS = 10  # httpx slows down badly beyond about 20 (encode/httpx#3215)
_HEADERS = {"user-agent": "vend", "accept": "application/json", "accept-encoding": "identity"}

type Allows = Callable[[Origin], bool]


class Network:
    """What all upstreams share.

    Args:
        tls: the client side of TLS.
        proxy: URL; "" for none. Loopback is never proxied.
        limits: the knobs.
    """

    def __init__(self, *, tls: ssl.SSLContext, proxy: str, limits: Limits) -> None:
        self._tls = tls
        self._proxy = proxy
        self._limits = limits
        self._upstreams: list[Upstream] = []

    def upstream(self, name: str, allows: Allows, *, fault: str = "", proxied: bool = True) -> "Upstream":
        """Return a new upstream.

        Args:
            name: of the service, as operators know it.
            allows: whether an origin may be asked.
            fault: why nothing may be asked at all; "" if that is not so.
            proxied: whether the proxy of the settings is used.
        """
        proxy = self._proxy if proxied else ""
        made = Upstream(name, allows, fault=fault, tls=self._tls, proxy=proxy, limits=self._limits)
        self._upstreams.append(made)
        return made

    async def aclose(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams:
            await upstream.aclose()


class Upstream:
    """One outside service.

    Args:
        name: of the service; the cause of each error begins with it.
        allows: whether an origin may be asked.
        fault: why nothing may be asked at all; "" if that is not so.
        tls: the client side of TLS.
        proxy: URL; "" for none.
        limits: the knobs; `attempt_seconds` is for one exchange as a whole: an answer of one byte a second ends too.
    """

    def __init__(
        self, name: str, allows: Allows, *, fault: str, tls: ssl.SSLContext, proxy: str, limits: Limits
    ) -> None:
        self._name = name
        self._fault = fault
        self._allows = allows
        self._seconds = limits.attempt_seconds
        self._body_bytes = limits.upstream_body_bytes
        self._timeout = {
            "connect": limits.connect_seconds,
            "read": limits.read_idle_seconds,
            "write": limits.read_idle_seconds,
        }
        # Requests wait here for one of the connections, and never in httpcore's pool: there, one that is cancelled
        # while it waits keeps its connection for ever (encode/httpcore#1093). One that has waited this long would be
        # cancelled in its handshake, which httpcore leaves open.
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._longest_wait = limits.attempt_seconds - 2 * limits.connect_seconds
        pool = httpx.Limits(max_connections=None, max_keepalive_connections=CONNECTIONS)
        self._direct = httpx.AsyncHTTPTransport(verify=tls, limits=pool, trust_env=False)
        through = httpx.AsyncHTTPTransport(verify=tls, limits=pool, trust_env=False, proxy=proxy) if proxy else None
        self._proxied = through or self._direct

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
            BadAnswer: the answer is too large or no HTTP.
            TlsRefused: TLS failed.
        """
        origin = origin_of(url)
        if self._fault:
            raise OperatorError(cause=f"{self._name}: {self._fault}")
        if origin is None or not self._allows(origin):
            raise OperatorError(cause=f"{self._name}: the address is not one of this service")
        transport = self._direct if origin.is_loopback else self._proxied
        try:
            request = httpx.Request(
                method, url, headers=_HEADERS | dict(headers), content=content, extensions={"timeout": self._timeout}
            )
            async with asyncio.timeout(self._seconds):
                async with asyncio.timeout(self._longest_wait):
                    await self._places.acquire()
                try:
                    return await self._exchange(transport, request, body_bytes or self._body_bytes)
                finally:
                    self._places.release()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = self._failure(error)
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure

    async def aclose(self) -> None:
        """Close every connection."""
        await self._direct.aclose()
        if self._proxied is not self._direct:
            await self._proxied.aclose()

    async def _exchange(self, transport: httpx.AsyncHTTPTransport, request: httpx.Request, most: int) -> Reply:
        answer = await transport.handle_async_request(request)
        try:
            if answer.headers.get("content-encoding", "identity") != "identity":
                # Not requested, and its size cannot be known beforehand.
                raise BadAnswer(cause=f"{self._name}: compressed answer")
            body = bytearray()
            async for chunk in answer.aiter_raw(16 * 1024):
                body += chunk
                if len(body) > most:
                    raise BadAnswer(cause=f"{self._name}: answer too large")
        finally:
            await answer.aclose()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status_code, headers=headers, body=bytes(body))

    def _failure(self, error: Exception) -> UpstreamError:
        """Return what a failure of the transport means, without its words."""
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            return TimedOut(cause=f"{self._name}: timeout")
        if isinstance(error, httpx.InvalidURL):
            return OperatorError(cause=f"{self._name}: the address is no URL")
        if not isinstance(error, httpx.ConnectError):
            return Unavailable(cause=f"{self._name}: broken connection")
        if _is_tls_error(error):
            return TlsRefused(cause=f"{self._name}: TLS failed")
        return Unavailable(cause=f"{self._name}: no connection")


def exactly(*urls: str) -> Allows:
    """Return a rule that allows the origins of these URLs and no other."""
    allowed = frozenset(origin for url in urls if (origin := origin_of(url)))
    return allowed.__contains__


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


def _is_tls_error(error: BaseException) -> bool:
    """Return whether TLS, not the network, refused: httpx wraps the cause a few layers deep."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
