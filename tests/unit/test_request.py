import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.errors import VendError
from shared.core.form import FIELD_LIMIT, FIELDS, read_form
from shared.core.request import BODY_LIMIT, Incoming, TokenRequest
from shared.routes import FUNCTION_KEY, ROUTES
from tests.tables import Case, case_id, cases

SCOPE = "https://graph.microsoft.com/.default"
BODY = f"grant_type=client_credentials&scope={SCOPE}"
HEADERS = {"content-type": "application/x-www-form-urlencoded", "x-functions-key": "0123456789abcdef"}
# RFC 6749 section 5.2: what an error_description may hold.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+\Z")


def read(case: Case) -> TokenRequest:
    """Read a request from end to end, as far as no caller need be known."""
    headers = {name: value for name, value in HEADERS.items() if name not in case.get("without", [])}
    headers |= case.get("headers", {})
    url = f"https://vend.test/api/token?{case.get('query', '')}"
    incoming = Incoming(case.get("method", "POST"), url, headers, case.get("body", BODY).encode())
    FUNCTION_KEY.check(incoming)
    FUNCTION_KEY.credentials(incoming)
    return FUNCTION_KEY.read(incoming)


@pytest.mark.parametrize("case", cases("requests.toml"), ids=case_id)
def test_a_request_is_read_or_refused(case: Case) -> None:
    """Each request is read as one `TokenRequest`, or refused in words that RFC 6749 allows and that quote nothing."""
    if "request" in case:
        wanted = case["request"]
        assert read(case) == TokenRequest(**{**wanted, "scopes": tuple(wanted["scopes"])})
        return
    with pytest.raises(VendError) as caught:
        read(case)
    refused = caught.value
    assert [refused.status, refused.error] == case["refused"]
    assert refused.hint == case.get("hint")
    assert DESCRIPTION.match(refused.public)
    assert "CANARY" not in f"{refused.public} {refused.cause} {refused.hint}"


def outcome(body: str) -> int:
    """Tell the status that a body is answered with."""
    try:
        read({"body": body})
    except VendError as refused:
        return refused.status
    return 200


def field_of(size: int) -> str:
    """Make a field whose value has that many bytes."""
    return "&pad=" + "x" * size


@pytest.mark.parametrize(
    ("addition", "status"),
    [
        ("&f=1" + "".join(f"&f{n}=1" for n in range(FIELDS - 3)), 200),
        ("&f=1" + "".join(f"&f{n}=1" for n in range(FIELDS - 2)), 400),
        (field_of(FIELD_LIMIT), 200),
        (field_of(FIELD_LIMIT + 1), 400),
        ("&" + "n" * (FIELD_LIMIT + 1) + "=1", 400),
        (field_of(BODY_LIMIT), 413),
        ("&claims=" + "[" * 4_000, 400),
    ],
    ids=["32 fields", "33 fields", "8 KiB field", "8 KiB and 1 byte", "name over 8 KiB", "body over 16 KiB", "ABU-79"],
)
def test_sizes_are_bounded(addition: str, status: int) -> None:
    """ABU-72, ABU-79, ABU-85: the last size that fits is read, and the first that does not is refused."""
    assert outcome(BODY + addition) == status


@pytest.mark.parametrize(("length", "status"), [(1_024, 200), (1_025, 400)])
def test_a_scope_is_bounded(length: int, status: int) -> None:
    """ABU-51: a scope has at most 1,024 characters."""
    resource = "a" * (length - len("/.default"))
    assert outcome(f"grant_type=client_credentials&scope={resource}/.default") == status


@pytest.mark.parametrize(("size", "status"), [(BODY_LIMIT, 400), (BODY_LIMIT + 1, 413)])
def test_a_body_is_bounded(size: int, status: int) -> None:
    """ABU-85: 16 KiB are read, and refused for what is in them; one byte more is 413."""
    assert outcome("x" * size) == status


FORMS = st.binary() | st.lists(
    st.sampled_from([b"grant_type", b"client_credentials", b"scope", b"tenant", b"=", b"&", b"%", b"%ff", b"+", b"\0"])
    | st.binary(max_size=4)
).map(b"".join)


@given(body=FORMS)
@example(body=b"%")
@example(body=b"=" * 20_000)
def test_no_form_breaks_the_parser(body: bytes) -> None:
    """TST-16: any bytes are a form or an error of vend's own; no field of it is empty."""
    try:
        fields = read_form(body)
    except VendError:
        return
    assert all(name and value for name, value in fields.items())


@given(body=FORMS, query=st.text(st.characters()), authorization=st.none() | st.text(st.characters()))
@example(body=BODY.encode(), query="\ud800=%", authorization=None)
@example(body=b"", query="", authorization="Basic " + "A" * 4_001)
def test_no_request_breaks_a_reader(body: bytes, query: str, authorization: str | None) -> None:
    """TST-16: whatever is sent in body, URL and headers, by any route, it is a request or an error of vend's own."""
    headers = HEADERS if authorization is None else {**HEADERS, "authorization": authorization}
    for route in ROUTES:
        incoming = Incoming(route.method, f"https://vend.test/api/{route.name}?{query}", headers, body)
        for step in (route.check, route.credentials, route.read):
            with contextlib.suppress(VendError):
                step(incoming)
