"""Asks over HTTP: no redirects, no cookies, no .netrc, and nothing in the clear beyond this machine.

Only `send` attaches a key or a token to a request, and it compares the origin of the request with that of the secret.
"""

import ssl
from dataclasses import dataclass, field
from functools import cache

import httpx

from cli.screen import misuse, stop
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
    """Return an address as scheme, host and port in lower case; end with exit code 2 if nothing should be sent there.

    Args:
        url: http or https, host and port.
        at: where it was named.
    """
    origin = origin_of(url)
    rest = url.partition("://")[2].lower().removesuffix("/")
    if origin is None or rest not in {origin.host, f"{origin.host}:{origin.port}"}:
        raise misuse(
            at, "must be http or https, a host and perhaps a port", "For example https://vend.azurewebsites.net"
        )
    if not _is_private(origin):
        raise misuse(at, "http is for this machine alone: keys and tokens would be open to read", "Use https.")
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


def send(request: httpx.Request, *, secret: Secret | None = None, ca_file: str = "") -> httpx.Response:
    """Send a request over a new connection.

    A secret for another origin is not sent, and the command ends with exit code 1.

    Raises:
        NoAnswer: there was none, it broke off, or it was too large.
    """
    address = f"{request.url.scheme}://{request.url.netloc.decode()}"
    if secret:
        origin = origin_of(str(request.url))
        if origin is None or origin != secret.origin or not _is_private(origin):
            raise stop(f"A key or token for another address is not sent to {address}.")
        request.headers[secret.header] = secret.value
    # Proxies and roots of this machine count, but never between it and itself.
    beyond = not is_loopback(address)
    tls = request.url.scheme == "https" and _tls(beyond=beyond, ca_file=ca_file)
    try:
        with httpx.Client(trust_env=beyond, verify=tls, timeout=SECONDS_TO_ANSWER) as client:
            answer = client.send(request, stream=True)
            try:
                return _whole(answer, address)
            finally:
                answer.close()
    except httpx.ConnectError as error:
        raise NoAnswer(f"Nobody answers at {address}: {error}") from None
    except httpx.TimeoutException:
        raise NoAnswer(f"{address} did not answer within {SECONDS_TO_ANSWER} s.") from None
    except httpx.HTTPError as error:
        raise NoAnswer(f"{address} broke off: {str(error) or type(error).__name__}") from None


def _whole(answer: httpx.Response, address: str) -> httpx.Response:
    """Read an answer to its end, within its bound."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise NoAnswer(f"{address} answers without an end.")
    answer.close()  # `elapsed` ends here
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() != "content-encoding"]
    whole = httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)
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
