"""Asks over HTTP: no redirects, no cookies, no .netrc, and nothing in the clear beyond this machine.

Only `send` attaches a key or a token to a request, and it compares the origin of the request with that of the secret.
Each exchange is bounded as a whole, by size and by a deadline: an answer of one byte a second ends too.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from functools import cache

import httpx

from cli.screen import stop
from shared.core.origins import Origin, origin_of

SECONDS_TO_ANSWER = 30  # vend itself gives up after 20
ANSWER_BYTES = 4 * 1024 * 1024
"""The largest answer that is read: a callers document has at most 1 MiB."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A header with a key or a token, and the one origin that may receive it."""

    origin: Origin | None
    header: str
    value: str = field(repr=False)


def function_key(key: str, *, app: str) -> Secret:
    """Return the header by which a caller proves itself to the app at an address."""
    return Secret(origin_of(app), "x-functions-key", key)


def bearer(token: str, *, service: str) -> Secret:
    """Return the header by which the operator proves itself to a service at an address."""
    return Secret(origin_of(service), "authorization", f"Bearer {token}")


def check_address(url: str, *, at: str) -> str:
    """Return an address as scheme, host and port in lower case; end with exit code 1 if nothing should be sent there.

    Args:
        url: http or https, host and port.
        at: where it was named.
    """
    origin = origin_of(url)
    rest = url.partition("://")[2].lower().removesuffix("/")
    if origin is None or rest not in {origin.host, f"{origin.host}:{origin.port}"}:
        raise stop(
            f"{at}: must be http or https, a host and perhaps a port", "For example https://vend.azurewebsites.net"
        )
    if not _is_private(origin):
        raise stop(f"{at}: http is for this machine alone: keys and tokens would be open to read", "Use https.")
    return f"{origin.scheme}://{rest}"


def is_loopback(url: str) -> bool:
    """Return whether an address is of this machine."""
    origin = origin_of(url)
    return origin is not None and origin.is_loopback


class NoAnswer(Exception):
    """No answer came; the text names the address and the reason."""


def ask(request: httpx.Request, *, hint: str, secret: Secret | None = None, ca_file: str = "") -> httpx.Response:
    """Send a request; if there is no answer, print the address that gave none, and end with exit code 1.

    Args:
        request: to an address that `check_address` has passed.
        hint: what may help where nobody listens.
        secret: proves who asks.
        ca_file: roots beside those that are trusted anyway.
    """
    try:
        return send(request, secret=secret, ca_file=ca_file)
    except NoAnswer as failure:
        raise stop(str(failure), hint) from None


def send(
    request: httpx.Request, *, secret: Secret | None = None, ca_file: str = "", seconds: float = SECONDS_TO_ANSWER
) -> httpx.Response:
    """Send a request over a new connection.

    A secret for another origin is not sent, and the command ends with exit code 1.

    Args:
        request: to an address that `check_address` has passed.
        secret: proves who asks.
        ca_file: roots beside those that are trusted anyway.
        seconds: the deadline of the exchange as a whole.

    Raises:
        NoAnswer: there was none, it broke off, or it was too large.
    """
    address = f"{request.url.scheme}://{request.url.netloc.decode()}"
    if secret:
        origin = origin_of(str(request.url))
        if origin is None or origin != secret.origin or not _is_private(origin):
            raise stop(f"A key or token for another address is not sent to {address}.")
        request.headers[secret.header] = secret.value
    request.headers["accept-encoding"] = "identity"  # the size of any other answer cannot be known beforehand
    # Proxies and roots of this machine count, but never between it and itself.
    beyond = not is_loopback(address)
    tls = request.url.scheme == "https" and _tls(beyond=beyond, ca_file=ca_file)
    # The handshake has a shorter time of its own: httpcore loses a connection that is cancelled in it.
    timeout = httpx.Timeout(seconds, connect=seconds / 4)
    client = httpx.AsyncClient(trust_env=beyond, verify=tls, timeout=timeout)
    try:
        return asyncio.run(_exchange(client, request, address, seconds=seconds))
    except httpx.ConnectError as error:
        raise NoAnswer(f"Nobody answers at {address}: {error}") from None
    except (TimeoutError, httpx.TimeoutException):
        raise NoAnswer(f"{address} did not answer within {seconds:g} s.") from None
    except httpx.HTTPError as error:
        raise NoAnswer(f"{address} broke off: {str(error) or type(error).__name__}") from None


async def _exchange(
    client: httpx.AsyncClient, request: httpx.Request, address: str, *, seconds: float
) -> httpx.Response:
    """Send a request, and read the answer to its end, within the bounds of both."""
    async with client, asyncio.timeout(seconds):
        answer = await client.send(request, stream=True)
        try:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise NoAnswer(f"{address} answers compressed, which was not requested.")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise NoAnswer(f"{address} answers without an end.")
        finally:
            await answer.aclose()  # `elapsed` ends here
    whole = httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=request)
    whole.elapsed = answer.elapsed
    return whole


def _is_private(origin: Origin) -> bool:
    """Return whether nobody on the way to an origin can read along."""
    return origin.scheme == "https" or origin.is_loopback


@cache  # Making one takes as long as the rest of a command.
def _tls(*, beyond: bool, ca_file: str) -> ssl.SSLContext:
    tls = httpx.create_ssl_context(trust_env=beyond)
    if ca_file:
        tls.load_verify_locations(ca_file)
    return tls
