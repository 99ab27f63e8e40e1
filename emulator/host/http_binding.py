"""How an HTTP request becomes the datum that triggers a function, and its return value an HTTP answer.

What the real host changes on the way is changed here too. Source: `ToRpcHttp` in GrpcMessageConversionExtensions and
AuthenticationLevelHandler of https://github.com/Azure/azure-functions-host.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from azure_functions_runtime.bindings.datumdef import Datum

ESCAPED_SLASH = re.compile("%2F", re.IGNORECASE)
PATH_CHARACTERS = "/!$&'()*+,;=:@%"  # RFC 3986 section 3.3, and escapes that the server left as they were


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; headers may repeat."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


def request_datum(
    *, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, route_params: Mapping[str, str]
) -> Datum:
    """Make the trigger's datum; empty query values are gone, as the real host drops them."""
    spelling: dict[str, str] = {}
    _, _, query = url.partition("?")
    params = _joined((spelling.setdefault(name.lower(), name), value) for name, value in _fields(query))
    request = {
        "method": Datum(method, "string"),
        "url": Datum(url, "string"),
        "headers": _strings(_joined((name.lower(), value) for name, value in headers)),
        "query": _strings({name: value for name, value in params.items() if value}),
        "params": _strings(route_params),
        "body": Datum(body, "bytes"),
    }
    return Datum(request, "http")


def answer_of(returned: Datum) -> Answer:
    """Turn what an HTTP output binding encodes into an answer."""
    if returned.type != "http":
        text: str | bytes = returned.value
        body = text.encode() if isinstance(text, str) else text
        return Answer(200, [("content-type", "text/plain; charset=utf-8")], body)
    parts = returned.value
    # The server frames the answer, not the function.
    framing = {"content-length", "transfer-encoding"}
    headers = [(name.lower(), value.value) for name, value in parts["headers"].items() if name.lower() not in framing]
    for cookie in parts["cookies"] or ():
        headers.extend(("set-cookie", morsel.OutputString()) for morsel in cookie.values())
    return Answer(int(parts["status_code"].value), headers, parts["body"].value)


def decoded_path(raw_path: str) -> str:
    """Decode a path as Kestrel does: an escaped slash stays escaped, for it separates nothing."""
    if "%" not in raw_path:
        return raw_path
    return "%2F".join(unquote(piece) for piece in ESCAPED_SLASH.split(raw_path))


def encoded_path(path: str) -> str:
    """Write a decoded path as it stands in a URL."""
    return quote(path, safe=PATH_CHARACTERS)


def presented_key(headers: Iterable[tuple[str, str]], query: str) -> str:
    """Find the key to check: the first header, even an empty one, before the first `code`."""
    for name, value in headers:
        if name == "x-functions-key":
            return value
    return next((value for name, value in _fields(query) if name.lower() == "code"), "")


def _fields(query: str) -> Iterable[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True) if query else ()


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join repeated values as `StringValues.ToString` does: a comma, no space, empty ones skipped."""
    found: dict[str, str] = {}
    for name, value in pairs:
        earlier = found.get(name)
        found[name] = f"{earlier},{value}" if earlier and value else earlier or value
    return found


def _strings(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}
