import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.errors import VendError
from shared.core.request import (
    BODY_LIMIT,
    FIELD_LIMIT,
    FIELDS,
    TokenRequest,
    caller_key,
    check_envelope,
    read_form,
    read_token_request,
)
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
    query, body = case.get("query", ""), case.get("body", BODY).encode()
    check_envelope(method=case.get("method", "POST"), query=query, headers=headers, body=body)
    caller_key(headers)
    return read_token_request(body, query=query, headers=headers)


@pytest.mark.parametrize("case", cases("requests.toml"), ids=case_id)
def test_a_request_is_read_or_refused(case: Case) -> None:
    """Each request is read as one `TokenRequest`, or refused in words that RFC 6749 allows and that quote nothing."""
    if "request" in case:
        assert read(case) == TokenRequest(**case["request"])
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


def test_a_body_of_exactly_the_limit_passes_the_envelope() -> None:
    """ABU-85: 16 KiB are allowed, one byte more is 413."""
    check_envelope(method="POST", query="", headers=HEADERS, body=b"x" * BODY_LIMIT)
    with pytest.raises(VendError) as caught:
        check_envelope(method="POST", query="", headers=HEADERS, body=b"x" * (BODY_LIMIT + 1))
    assert caught.value.status == 413


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


@given(body=FORMS, query=st.text(st.characters()))
@example(body=BODY.encode(), query="\ud800=%")
def test_no_request_breaks_the_reader(body: bytes, query: str) -> None:
    """TST-16: whatever is sent in body and URL, it is a request or an error of vend's own."""
    try:
        check_envelope(method="POST", query=query, headers=HEADERS, body=body)
        read_token_request(body, query=query, headers=HEADERS)
    except VendError:
        pass
