"""What every answer of the app and every event keep to, whatever was asked: docs/openapi.json and more.

Where answers pass through one place on their way to a test, it asks here; then each test is a test of this as well.
The document decides what is answered, and what stands below is true of every answer: the rules that no schema can say.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator, Validator

from shared.core.request import BODY_LIMIT

ROOT = Path(__file__).parents[1]
DOCUMENT: Mapping[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
EVENTS: Mapping[str, Validator] = {
    name: Draft202012Validator(schema)
    for name, schema in json.loads((ROOT / "docs" / "events.schema.json").read_text())["$defs"].items()
}
"""By name: the whole document would only say that a line is no event."""
LONGEST = BODY_LIMIT
"""Bytes of a body: no answer is longer than the longest question."""
FRAMING = {"connection", "content-length", "content-type", "date", "transfer-encoding"}
"""Headers that the server adds, not the app; Content-Type is the key of a response's content."""

_PACKAGES = "|".join(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
LEAKS: Mapping[str, re.Pattern[str]] = {
    "a token": re.compile(r"eyJ[\w-]{8,}\.[\w-]+"),
    "a stack trace": re.compile(r'Traceback \(most recent|File \\?"[^"]+", line \d+'),
    "an absolute path": re.compile(r"""(?:^|[\s"'(=])(?:/(?!api/)[\w.-]+){2,}|\b[A-Za-z]:\\"""),
    "a version": re.compile(rf"\b(?:python|{_PACKAGES})[ /=-]+v?\d+\.\d+", re.IGNORECASE),
}
"""What is in no answer but the token of a 200."""


@dataclass(frozen=True)
class Expected:
    """What the document says of one status of one operation: headers in lower case, and bodies by Content-Type."""

    headers: Mapping[str, Validator]
    bodies: Mapping[str, Validator]


def conforms(route: str, method: str, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
    """List what is wrong with an answer of the app.

    Args:
        route: the path, such as `/api/token`.
        method: of the request.
        status, headers, body: of the answer; the host's own answers are not judged here.
    """
    expected = _expected(route, method, status)
    if expected is None:
        return [f"{status} to {method} {route} is not in the document"]
    lower = {name.lower(): value for name, value in headers.items()}
    return [*_header_faults(expected, lower), *_body_faults(expected, method, lower, body)]


def check(response: httpx.Response) -> None:
    """Fail a test whose client got an answer of the app that does not conform: an httpx hook for responses."""
    request, body = response.request, response.read()
    if _documented(request.url.path) is None or (response.status_code == 401 and not body):  # the host's own
        return
    assert conforms(request.url.path, request.method, response.status_code, response.headers, body) == []


def event_conforms(line: str) -> list[str]:
    """List what is wrong with a line of the log that is an event; another line is not judged."""
    try:
        event = json.loads(line)
    except ValueError:
        return []
    if not isinstance(event, dict) or "event" not in event:
        return []
    schema = EVENTS.get(event["event"])
    if schema is None:
        return [f"{event['event']} is no event of the document"]
    wrong = list(_faults(schema, event))
    return wrong if line.isascii() else [*wrong, "the line is not ASCII"]


@cache
def _documented(path: str) -> str | None:
    """Return the path as the document has it, where a parameter may stand for a segment."""
    if path in DOCUMENT["paths"]:
        return path
    templates = ((re.sub(r"\\{\w+\\}", "[^/]+", re.escape(each)), each) for each in DOCUMENT["paths"])
    return next((each for pattern, each in templates if re.fullmatch(pattern, path)), None)


@cache
def _expected(route: str, method: str, status: int) -> Expected | None:
    operations = DOCUMENT["paths"].get(_documented(route), {})
    operation = operations.get(method.lower())
    if operation is None and status == 405:  # told of another method, as each operation of the path tells it
        operation = next(iter(operations.values()), None)
    response = operation and operation["responses"].get(str(status))
    if not response:
        return None
    return Expected(
        headers={name.lower(): _compiled(_resolved(part)["schema"]) for name, part in response["headers"].items()},
        bodies={media: _compiled(part["schema"]) for media, part in response.get("content", {}).items()},
    )


def _header_faults(expected: Expected, headers: Mapping[str, str]) -> Iterator[str]:
    for name, schema in expected.headers.items():
        value = headers.get(name)
        if value is None:
            yield f"{name} is missing"
        elif not schema.is_valid(int(value) if value.isdecimal() else value):
            yield f"{name} is not as documented"
    yield from (f"{name} is not in the document" for name in headers.keys() - expected.headers.keys() - FRAMING)


def _body_faults(expected: Expected, method: str, headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    if len(body) > LONGEST:
        yield f"the body has {len(body)} bytes"
    if method == "HEAD":
        if body:
            yield "HEAD has a body"
        return
    schema = expected.bodies.get(headers.get("content-type", ""))
    if schema is None:
        yield "content-type is not in the document"
        return
    try:
        told = json.loads(body)
    except ValueError:
        yield "the body is no JSON"
        return
    yield from _faults(schema, told)
    # The one place for a token is that of a 200; whether there may be one is in the schema.
    rest = {name: value for name, value in told.items() if name != "access_token"} if isinstance(told, dict) else told
    text = json.dumps(rest)
    yield from (f"the body holds {what}" for what, form in LEAKS.items() if form.search(text))


def _faults(schema: Validator, told: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    for error in schema.iter_errors(told):
        yield f"{'.'.join(map(str, error.instance_path)) or 'the whole'}: {error.message}"


def _compiled(schema: Mapping[str, Any]) -> Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def _resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return _resolved(found)
