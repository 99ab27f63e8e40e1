"""Requests as they go over the wire: one case, told in the protocol of each route.

A case changes a good request for a token. It may have:
    method, path, query   in place of the route's own, or behind it; in `path` {route} and {folder} stand for its parts
    headers               added or replaced; as a list of pairs, one name may come several times
    without               names of headers and fields left out; `credentials` for what proves the caller
    key, name             of the caller; a key is named, or is a literal
    basic                 HTTP Basic by hand: `pair`, where {key} is the key, goes in base64 where `as` has {}; of
                          `spelled`, the first is replaced there by the second
    fields                of what is asked, encoded here: the form, or in the managed-identity protocol the query, where
                          the scope is the resource
    form                  the same as it stands, in place of all fields; `more` is appended to it
    body                  whatever the protocol
In every text {key:NAME} is a key that is named, and `<x*3>` is xxx; in what is repeated # is the repetition's number.
"""

import base64
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from shared.core.request import Incoming
from tests.tables import Case

FORM_MEDIA = "application/x-www-form-urlencoded"
SCOPE = "https://graph.microsoft.com/.default"
WAYS = ("token", "oauth2/token", "msi/token")
IN_THE_FORM = "oauth2/token in the form"
"""OAuth's other way to send name and key."""
EVERY_WAY = (*WAYS, IN_THE_FORM)
SECONDS_TO_ANSWER = 60

_REPEATED = re.compile(r"<([^<>*]+)\*(\d+)>")


@dataclass(frozen=True)
class Wire:
    """An HTTP request as a client sends it."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def incoming(self) -> Incoming:
        """Hand it to the app as the host does, but for repeated headers."""
        return Incoming(self.method, f"https://vend.test{self.target}", dict(self.headers), self.body)

    def octets(self) -> bytes:
        """Write it as HTTP/1.1, on a connection of its own; nothing is tidied up."""
        framing = {"host": "vend.test", "content-length": str(len(self.body)), "connection": "close"}
        own = {name for name, _ in self.headers}
        headers = [*((name, value) for name, value in framing.items() if name not in own), *self.headers]
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def wire(case: Case, way: str, keys: Mapping[str, str]) -> Wire:
    """Tell a case in the protocol of a route.

    Args:
        case: see above.
        way: the route's name; one of `WAYS`, or `IN_THE_FORM`.
        keys: by the names that cases call them by; `billing` is the good one's.
    """
    case = with_texts(case, {f"{{key:{name}}}": key for name, key in keys.items()})
    route = way.split(maxsplit=1)[0]
    key = keys.get(case.get("key", "billing"), _repeated(case.get("key", "")))
    name, left_out = case.get("name", "billing"), case.get("without", [])
    fields = _fields(case, way, key=key, name=name)
    form = case.get("form", urlencode({name: text for name, text in fields.items() if name not in left_out}))
    form = _repeated(form + case.get("more", ""))
    query, body = (form, "") if route == "msi/token" else ("", form)
    query = "&".join(part for part in (query, _repeated(case.get("query", ""))) if part)
    folder = route.removesuffix("token")
    return Wire(
        method=case.get("method", "GET" if route == "msi/token" else "POST"),
        path=case.get("path", "/api/{route}").format(route=route, folder=folder),
        query=query,
        headers=tuple(_headers(case, way, key=key, name=name)),
        body=_repeated(case.get("body", body)).encode(),
    )


def exchange(sent: Wire, port: int) -> bytes:
    """Send a request to this machine over a connection of its own, and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_TO_ANSWER) as connection:
        connection.sendall(sent.octets())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def with_texts(case: Case, texts: Mapping[str, str]) -> Case:
    """Replace texts wherever they stand in a case."""
    return {name: _replaced(value, texts) for name, value in case.items()}


def basic(name: str, key: str) -> str:
    """Write HTTP Basic as OAuth has it: both halves form-encoded (RFC 6749 section 2.3.1)."""
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(key)}".encode()).decode()


def _replaced(value: object, texts: Mapping[str, str]) -> Any:  # noqa: ANN401  # what a table holds
    match value:
        case str():
            for before, after in texts.items():
                value = value.replace(before, after)
            return value
        case list():
            return [_replaced(item, texts) for item in value]
        case dict():
            return {_replaced(name, texts): _replaced(item, texts) for name, item in value.items()}
        case _:
            return value


def _fields(case: Case, way: str, *, key: str, name: str) -> dict[str, str]:
    changed = {field: _repeated(text) for field, text in case.get("fields", {}).items()}
    if way == "msi/token":
        if "scope" in changed:
            changed["resource"] = changed.pop("scope")
        return {"api-version": "2019-08-01", "resource": "https://graph.microsoft.com", **changed}
    proof = {"client_id": name, "client_secret": key} if way == IN_THE_FORM else {}
    if "credentials" in case.get("without", []):
        proof = {}
    return {"grant_type": "client_credentials", "scope": SCOPE, **proof, **changed}


def _headers(case: Case, way: str, *, key: str, name: str) -> Iterable[tuple[str, str]]:
    own = {} if way == "msi/token" else {"content-type": FORM_MEDIA}
    proof = {
        "token": {"x-functions-key": key},
        "oauth2/token": {"authorization": _by_hand(case["basic"], key) if "basic" in case else basic(name, key)},
        "msi/token": {"x-identity-header": key},
    }
    left_out = case.get("without", [])
    if "credentials" not in left_out:
        own |= proof.get(way, {})
    more = case.get("headers", {})
    pairs = list(more.items() if isinstance(more, dict) else map(tuple, more))
    replaced = {name for name, _ in pairs}
    for header, value in [*((name, value) for name, value in own.items() if name not in replaced), *pairs]:
        if header not in left_out:
            yield header, _repeated(value)


def _by_hand(wanted: Mapping[str, Any], key: str) -> str:
    encoded = base64.b64encode(wanted["pair"].replace("{key}", key).encode()).decode()
    before, after = wanted.get("spelled", ("", ""))
    assert before in encoded  # else the case would show nothing
    written = encoded.replace(before, after) if before else encoded
    return str(wanted.get("as", "Basic {}").replace("{}", written))


def _repeated(text: str) -> str:
    def written(found: re.Match[str]) -> str:
        once, times = found[1], int(found[2])
        return "".join(once.replace("#", str(n)) for n in range(times)) if "#" in once else once * times

    return _REPEATED.sub(written, text)
