"""Asks over HTTP: no redirects, and nothing in the clear beyond this machine."""

import contextlib
import ipaddress
from urllib.parse import urlsplit

import httpx

from cli.screen import stop

SECONDS_TO_ANSWER = 30  # vend itself gives up after 20


def check_address(url: str, *, at: str) -> str:
    """Return the address without a trailing slash; end with exit code 1 if nothing should be sent there.

    Args:
        url: http or https, host and port.
        at: where it was named.
    """
    good = False
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        bare = parts.path in {"", "/"} and not parts.query and not parts.fragment and "@" not in parts.netloc
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and bare and parts.port != 0
    if not good:
        raise stop(
            f"{at}: must be http or https, a host and perhaps a port", "For example https://vend.azurewebsites.net"
        )
    if url.startswith("http:") and not is_loopback(url):
        raise stop(f"{at}: http is for this machine alone: keys and tokens would be open to read", "Use https.")
    return url.removesuffix("/")


def is_loopback(url: str) -> bool:
    """Tell whether an address is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NoAnswer(Exception):
    """Nobody answered; the text says who did not, and how."""


def ask(request: httpx.Request, *, hint: str, ca_file: str = "") -> httpx.Response:
    """Send a request; if there is no answer, say which address gave none, and end with exit code 1.

    Args:
        request: to an address that `check_address` has passed.
        hint: what may help where nobody listens.
        ca_file: roots beside those that are trusted anyway.
    """
    try:
        return send(request, ca_file=ca_file)
    except NoAnswer as failure:
        raise stop(str(failure), hint) from None


def send(request: httpx.Request, *, ca_file: str = "") -> httpx.Response:
    """Send a request.

    Raises:
        NoAnswer: there was none, or it broke off.
    """
    address = f"{request.url.scheme}://{request.url.netloc.decode()}"
    # Proxies and roots of this machine count, but never between it and itself.
    beyond = not is_loopback(str(request.url))
    # Making one takes as long as the rest of a command.
    tls = request.url.scheme == "https" and httpx.create_ssl_context(trust_env=beyond)
    if tls and ca_file:
        tls.load_verify_locations(ca_file)
    try:
        with httpx.Client(trust_env=beyond, verify=tls, timeout=SECONDS_TO_ANSWER) as client:
            return client.send(request)
    except httpx.ConnectError as error:
        raise NoAnswer(f"Nobody answers at {address}: {error}") from None
    except httpx.TimeoutException:
        raise NoAnswer(f"{address} did not answer within {SECONDS_TO_ANSWER} s.") from None
    except httpx.HTTPError as error:
        raise NoAnswer(f"{address} broke off: {str(error) or type(error).__name__}") from None
