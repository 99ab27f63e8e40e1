"""docs/openapi.json is what the app answers, and `tests/contract.py` sees it when it does not."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from function_app import app
from scripts.openapi import NEVER, refusals
from shared.api.routes import ROUTES, Route
from shared.core.errors import InvalidRequest
from shared.core.names import is_default_scope, is_guid
from shared.core.request import read_managed_identity_request
from tests.contract import DOCUMENT, conforms, event_conforms
from tests.docs.test_docs import ROOT
from tests.tables import case_id, cases

FORM = DOCUMENT["paths"]["/api/token"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
API_VERSION = next(
    part for part in DOCUMENT["paths"]["/api/msi/token"]["get"]["parameters"] if part["name"] == "api-version"
)
HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
REFUSED: dict[str, Any] = {
    "error": "temporarily_unavailable",
    "error_description": "not now",
    "correlation_id": "an-id",
    "retryable": True,
}
VENDED: dict[str, Any] = {
    "token_type": "Bearer",
    "access_token": "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhcGkifQ.c2ln",
    "expires_in": 3,
    "expires_on": 1_800_000_000,
    "refresh_in": 30,
    "scope": "https://graph.microsoft.com/.default",
    "token_source": "cache",
    "correlation_id": "an-id",
}
AUDITED: dict[str, Any] = {
    "event": "token",
    "time": "2027-01-15T08:00:00.000+00:00",
    "correlation_id": "an-id",
    "route": "token",
    "caller": "billing",
    "profile": "graph",
    "tenant_id": "11111111-1111-1111-1111-111111111111",
    "scope": "https://graph.microsoft.com/.default",
    "status": 200,
    "outcome": "vended",
    "source": "cache",
    "token": "0123456789ab",
    "expires_on": 1_800_000_000,
    "latency_ms": 1.5,
    "worker": "w",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadAnswer:
    """An answer that breaks a rule; tests/data/bad_answers.toml describes the fields."""

    id: str
    route: str = "/api/token"
    method: str = "POST"
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, str | int | bool] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    raw: str | None = None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line of the audit that breaks a rule; tests/data/bad_audit.toml describes the fields."""

    id: str
    event: Mapping[str, str | int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    says: str


def changed(good: Mapping[str, Any], changes: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """Change a good thing as a case says; a number stands for so many letters."""
    made = {
        name: "x" * int(value) if str(value).isdecimal() and len(str(value)) > 2 and isinstance(value, str) else value
        for name, value in changes.items()
    }
    return {name: value for name, value in {**good, **made}.items() if name not in without}


def test_the_document_lists_the_routes_of_the_app() -> None:
    """Every HTTP function is in it, and nothing else is."""
    bindings = [part for function in app.get_functions() for part in function.get_bindings_dict()["bindings"]]
    served = {f"/api/{part['route']}" for part in bindings if part["type"] == "httpTrigger"}
    assert DOCUMENT["paths"].keys() == served


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_an_error_is_in_the_document_where_it_can_occur(route: Route) -> None:
    """What a route makes of it is listed with its status, code and headers; one that is listed nowhere is forgotten."""
    for kind in refusals(route):
        answer = route.refused(kind(), method=route.method, correlation_id="an-id")
        assert conforms(f"/api/{route.name}", route.method, answer.status, answer.headers, answer.body) == []
    for kind in NEVER[route]:
        answer = route.refused(kind(), method=route.method, correlation_id="an-id")
        assert conforms(f"/api/{route.name}", route.method, answer.status, answer.headers, answer.body)


@pytest.mark.parametrize(
    ("path", "never"),
    [
        (
            "/api/token",
            {("403", "invalid_request"), ("403", "unauthorized_client"), ("409", "temporarily_unavailable")},
        ),
        ("/api/oauth2/token", {("403", "unauthorized_client"), ("409", "temporarily_unavailable")}),
    ],
)
def test_the_page_of_errors_lists_the_same(path: str, never: set[tuple[str, str]]) -> None:
    """Each status of docs/errors.md is in the document with its code, and the other way round; 403 is app-checked."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    page = {
        (status, code)
        for statuses, codes in rows
        for status in re.findall(r"\b\d{3}\b", statuses)
        for code in re.findall(r"`([a-z_]+)`", codes)
    }
    document = {
        (status, example["value"]["error"])
        for status, response in DOCUMENT["paths"][path]["post"]["responses"].items()
        for example in response["content"]["application/json"]["examples"].values()
        if status != "200"
    }
    assert document == page - never


@given(
    text=st.from_regex(r"[a-z:/.]{0,20}/\.default\n?|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\n?") | st.text()
)
def test_a_field_is_as_the_reader_takes_it(text: str) -> None:
    """The patterns of scope and tenant take what the app takes, and nothing else."""
    for name, taken in (("scope", is_default_scope(text)), ("tenant", is_guid(text) or not text)):
        assert Draft202012Validator(FORM["properties"][name]).is_valid(text) is taken


@given(version=st.from_regex(r"20[12][0-9]-[0-9]{2}-[0-9]{2}(-[a-z]+)?\n?") | st.text())
@example(version="2019-07-99")
@example(version="2019-08-00")
@example(version="2019-08-01")
@example(version="2019-10-00")
@example(version="2020-01-01-preview")
def test_an_api_version_is_as_the_reader_takes_it(version: str) -> None:
    """The pattern of api-version takes what the app takes, and nothing else."""
    try:
        read_managed_identity_request(urlencode({"api-version": version, "resource": "x"}))
        taken = True
    except InvalidRequest:
        taken = False
    assert Draft202012Validator(API_VERSION["schema"]).is_valid(version) is taken


def test_a_scope_has_a_length() -> None:
    """The same at the limit."""
    for length in (1_024, 1_025):
        scope = "x" * (length - 9) + "/.default"
        assert Draft202012Validator(FORM["properties"]["scope"]).is_valid(scope) is is_default_scope(scope)


@pytest.mark.parametrize("case", cases("bad_answers.toml", BadAnswer), ids=case_id)
def test_an_answer_that_breaks_a_rule_is_seen(case: BadAnswer) -> None:
    """Faults.F: every invariant can fail."""
    good = VENDED if case.status == 200 else REFUSED
    waits = {} if case.status == 200 else {"Retry-After": "5"}
    assert conforms("/api/token", "POST", 200, HEADERS, json.dumps(VENDED).encode()) == []
    assert conforms("/api/token", "POST", 503, {**HEADERS, "Retry-After": "5"}, json.dumps(REFUSED).encode()) == []
    headers = {name: value for name, value in {**HEADERS, **waits, **case.headers}.items() if value}
    body = case.raw or json.dumps(changed(good, case.body, case.without))
    faults = conforms(case.route, case.method, case.status, headers, body.encode())
    assert [fault for fault in faults if case.says in fault], faults


def test_an_answer_to_head_has_no_body() -> None:
    """RFC 9110 section 9.3.2: and all that its headers say must hold."""
    headers = {**HEADERS, "Allow": "POST"}
    assert conforms("/api/token", "HEAD", 405, headers, b"") == []
    assert conforms("/api/token", "HEAD", 405, headers, b"{}") == ["HEAD has a body"]
    assert conforms("/api/token", "HEAD", 405, HEADERS, b"") == ["allow is missing"]


@pytest.mark.parametrize("case", cases("bad_audit.toml", BadLine), ids=case_id)
def test_a_line_of_the_audit_that_breaks_a_rule_is_seen(case: BadLine) -> None:
    """SEC-21: the set of fields is closed, and each has its form."""
    assert event_conforms(json.dumps(AUDITED)) == []
    line = json.dumps(changed(AUDITED, case.event, case.without))
    assert [fault for fault in event_conforms(line) if case.says in fault]


def test_a_line_of_the_audit_is_ascii() -> None:
    """SEC-20: whatever stands in it."""
    assert event_conforms(json.dumps({**AUDITED, "caller": "é"}, ensure_ascii=False)) == ["the line is not ASCII"]


def test_an_event_without_a_declaration_is_seen() -> None:
    """Its name is in no schema; a line that is no event is not judged."""
    assert event_conforms('{"event": "tokens"}') == ["tokens is no event of the document"]
    assert event_conforms('{"message": "from a library"}') == event_conforms("no JSON") == []
