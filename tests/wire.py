"""Requests as they go over the wire: one change of a good request for a token, told in the protocol of each route."""

import base64
import dataclasses
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

from emulator.seed import TENANT_ID
from shared.core.request import ASSERTION_TYPE, Incoming

FORM_MEDIA = "application/x-www-form-urlencoded"
SCOPE = "https://graph.microsoft.com/.default"
type Way = Literal[
    "token",
    "oauth2/token",
    "msi/token",
    "oauth2/token in the form",
    "oauth2/token by assertion",
    "entra/{tenant}/oauth2/v2.0/token",
]
KEYED: tuple[Way, ...] = ("token", "oauth2/token", "msi/token")
"""Each route for a function key."""
ASSERTED: tuple[Way, ...] = ("oauth2/token by assertion", "entra/{tenant}/oauth2/v2.0/token")
"""By an identity token as the client assertion."""
WAYS = (*KEYED, *ASSERTED)
IN_THE_FORM: Way = "oauth2/token in the form"
"""OAuth's other way to send name and key."""
EVERY_WAY = (*WAYS, IN_THE_FORM)
SECONDS_TO_ANSWER = 60

_REPEATED = re.compile(r"<([^<>*]+)\*(\d+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicByHand:
    """An HTTP Basic header that no library would write.

    Args:
        pair: the text in base64; {key} stands for the key.
        written: the header; {} stands for the base64.
        spelled: a part of the base64, and the text that replaces it.
    """

    pair: str
    written: str = "Basic {}"
    spelled: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The difference between a request and a good one.

    In each text {key:NAME} stands for a key of that name, and `<x*3>` for xxx. In a repeated text # stands for the
    number of the repetition.

    Args:
        method: replaces the method of the route.
        path: replaces the path; {route} and {folder} stand for parts of the route.
        query: follows the query of the route.
        headers: are added or replaced; in pairs one name may come several times.
        without: names of headers and fields that are left out; `credentials` for all that proves the caller.
        key: the name of a key, or a literal key; of an identity token, where the caller proves itself by an assertion.
        name: the name of the caller.
        basic: replaces the HTTP Basic of the caller.
        fields: replace fields of the form, which is encoded here. In the managed-identity protocol they replace fields
            of the query, and the scope becomes the resource.
        form: replaces the whole encoded form.
        more: follows the encoded form.
        body: replaces the body, in each protocol.
    """

    method: str | None = None
    path: str = "/api/{route}"
    query: str = ""
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    key: str = "billing"
    name: str = "billing"
    basic: BasicByHand | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None
    more: str = ""
    body: str | None = None


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


def wire(change: Change, way: str, keys: Mapping[str, str]) -> Wire:
    """Tell a change in the protocol of a route.

    Args:
        change: of a good request.
        way: the route's name; one of `EVERY_WAY`.
        keys: by the names that cases call them by; `billing` is the good one's. `token of NAME`
            is an identity token.
    """
    change = with_texts(change, {f"{{key:{name}}}": key for name, key in keys.items()})
    route = way.split(maxsplit=1)[0]
    named = f"token of {change.key}" if way in ASSERTED else change.key
    key = keys.get(named, _repeated(change.key))
    form = change.form
    if form is None:
        fields = _fields(change, way, key=key)
        form = urlencode({name: text for name, text in fields.items() if name not in change.without})
    form = _repeated(form + change.more)
    query, body = (form, "") if route == "msi/token" else ("", form)
    query = "&".join(part for part in (query, _repeated(change.query)) if part)
    route = route.replace("{tenant}", TENANT_ID)
    folder = route.removesuffix("token")
    return Wire(
        method=change.method or ("GET" if route == "msi/token" else "POST"),
        path=change.path.format(route=route, folder=folder),
        query=query,
        headers=tuple(_headers(change, way, key=key)),
        body=_repeated(body if change.body is None else change.body).encode(),
    )


def exchange(sent: Wire, port: int) -> bytes:
    """Send a request to this machine over a connection of its own, and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_TO_ANSWER) as connection:
        connection.sendall(sent.octets())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def with_texts[Kind: Change](change: Kind, texts: Mapping[str, str]) -> Kind:
    """Replace texts wherever they stand in a change."""
    replaced: Kind = _replaced(change, texts)
    return replaced


def basic(name: str, key: str) -> str:
    """Write HTTP Basic as OAuth has it: both halves form-encoded (RFC 6749 section 2.3.1)."""
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(key)}".encode()).decode()


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:  # noqa: ANN401  # whatever a change holds
    match value:
        case str():
            for before, after in texts.items():
                value = value.replace(before, after)
            return value
        case tuple():
            return tuple(_replaced(item, texts) for item in value)
        case Mapping():
            return {_replaced(name, texts): _replaced(item, texts) for name, item in value.items()}
        case Change() | BasicByHand():
            values = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
            return dataclasses.replace(value, **_replaced(values, texts))
        case _:
            return value


def _fields(change: Change, way: str, *, key: str) -> dict[str, str]:
    changed = {name: _repeated(text) for name, text in change.fields.items()}
    if way == "msi/token":
        if "scope" in changed:
            changed["resource"] = changed.pop("scope")
        return {"api-version": "2019-08-01", "resource": "https://graph.microsoft.com", **changed}
    proof = {"client_id": change.name, "client_secret": key} if way == IN_THE_FORM else {}
    if way in ASSERTED:
        proof = {"client_id": change.name, "client_assertion_type": ASSERTION_TYPE, "client_assertion": key}
    if "credentials" in change.without:
        proof = {}
    return {"grant_type": "client_credentials", "scope": SCOPE, **proof, **changed}


def _headers(change: Change, way: str, *, key: str) -> Iterable[tuple[str, str]]:
    own = {} if way == "msi/token" else {"content-type": FORM_MEDIA}
    proof = {
        "token": {"x-functions-key": key},
        "oauth2/token": {"authorization": _by_hand(change.basic, key) if change.basic else basic(change.name, key)},
        "msi/token": {"x-identity-header": key},
    }
    if "credentials" not in change.without:
        own |= proof.get(way, {})
    pairs = list(change.headers.items() if isinstance(change.headers, Mapping) else change.headers)
    replaced = {name for name, _ in pairs}
    for header, value in [*((name, value) for name, value in own.items() if name not in replaced), *pairs]:
        if header not in change.without:
            yield header, _repeated(value)


def _by_hand(wanted: BasicByHand, key: str) -> str:
    encoded = base64.b64encode(wanted.pair.replace("{key}", key).encode()).decode()
    if wanted.spelled:
        before, after = wanted.spelled
        assert before in encoded  # else the case would show nothing
        encoded = encoded.replace(before, after)
    return wanted.written.replace("{}", encoded)


def _repeated(text: str) -> str:
    def written(found: re.Match[str]) -> str:
        once, times = found[1], int(found[2])
        return "".join(once.replace("#", str(n)) for n in range(times)) if "#" in once else once * times

    return _REPEATED.sub(written, text)
