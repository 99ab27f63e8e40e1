"""Asks over HTTP: no redirects, no cookies, no .netrc, and nothing in the clear beyond this machine.

Only `send_all` attaches a key or a token to a request, and it compares the origin of the request with that of the
secret. Every exchange has one deadline, from the first packet to the last byte of the answer.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx

from cli.screen import misuse, stop
from shared.core.origins import Origin, origin_of

SECONDS_TO_ANSWER = 30.0
"""From the start of a request to the last byte of its answer; vend itself gives up after 20."""
AT_ONCE = 4
"""How many requests are under way side by side."""
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
    """No answer came; the text names the address and the reason.

    Attributes:
        may_pass: whether the same request may succeed a little later. It may have had its effect already.
    """

    def __init__(self, reason: str, *, may_pass: bool) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


type Answer = httpx.Response | NoAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the secret that proves who asks."""

    request: httpx.Request
    secret: Secret | None = None


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
    """Send one request, as `send_all` does.

    Raises:
        NoAnswer: there was none, it broke off, or it was too large.
    """
    [answer] = send_all([Question(request, secret)], ca_file=ca_file, seconds=seconds)
    if isinstance(answer, NoAnswer):
        raise answer
    return answer


def send_all(questions: Sequence[Question], *, ca_file: str = "", seconds: float = SECONDS_TO_ANSWER) -> list[Answer]:
    """Send requests, each over a new connection and `AT_ONCE` side by side; return what came of each, in their order.

    A secret for another origin is not sent, and the command ends with exit code 1 before anything is sent.

    Args:
        questions: the requests.
        ca_file: roots beside those that are trusted anyway.
        seconds: the deadline of each, to the last byte of its answer.
    """
    for question in questions:
        _attach(question)
    return asyncio.run(_send_all([question.request for question in questions], ca_file, seconds))


def json_object(content: bytes) -> Mapping[str, Any]:
    """Return the JSON object that an answer holds; an empty one where it holds anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _attach(question: Question) -> None:
    request, secret = question.request, question.secret
    if secret is None:
        return
    origin = origin_of(str(request.url))
    if origin is None or origin != secret.origin or not _is_private(origin):
        raise stop(f"A key or token for another address is not sent to {_address(request)}.")
    request.headers[secret.header] = secret.value


async def _send_all(requests: Sequence[httpx.Request], ca_file: str, seconds: float) -> list[Answer]:
    places = asyncio.Semaphore(AT_ONCE)

    async def answer(request: httpx.Request) -> Answer:
        async with places:
            return await _send(request, ca_file, seconds)

    return await asyncio.gather(*map(answer, requests))


async def _send(request: httpx.Request, ca_file: str, seconds: float) -> Answer:
    address = _address(request)
    # Proxies and roots of this machine count, but never between it and itself.
    beyond = not is_loopback(address)
    tls = request.url.scheme == "https" and _tls(beyond=beyond, ca_file=ca_file)
    request.headers["accept-encoding"] = "identity"  # the size of any other answer cannot be known beforehand
    # The handshake has a shorter time of its own: httpcore loses a connection that is cancelled in it.
    timeout = httpx.Timeout(seconds, connect=seconds / 3)
    try:
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=beyond, verify=tls, timeout=timeout) as client:
            answer = await client.send(request, stream=True)
            try:
                return await _whole(answer, address)
            finally:
                await answer.aclose()
    except httpx.ConnectError as error:
        return NoAnswer(f"Nobody answers at {address}: {error}", may_pass=False)
    except (TimeoutError, httpx.TimeoutException):
        return NoAnswer(f"{address} did not answer within {seconds:g} s.", may_pass=True)
    except httpx.HTTPError as error:
        return NoAnswer(f"{address} broke off: {str(error) or type(error).__name__}", may_pass=True)


async def _whole(answer: httpx.Response, address: str) -> Answer:
    """Read an answer to its end, within its bound."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        return NoAnswer(f"{address} answers compressed, which was not requested.", may_pass=True)
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES:
            return NoAnswer(f"{address} answers without an end.", may_pass=True)
    await answer.aclose()  # `elapsed` ends here
    whole = httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=answer.request)
    whole.elapsed = answer.elapsed
    return whole


def _address(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


def _is_private(origin: Origin) -> bool:
    """Return whether nobody on the way to an origin can read along."""
    return origin.scheme == "https" or origin.is_loopback


@cache  # Making one takes as long as the rest of a command.
def _tls(*, beyond: bool, ca_file: str) -> ssl.SSLContext:
    tls = httpx.create_ssl_context(trust_env=beyond)
    if ca_file:
        tls.load_verify_locations(ca_file)
    return tls
