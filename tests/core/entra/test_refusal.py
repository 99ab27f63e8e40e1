import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.entra.aadsts import meaning
from shared.core.entra.refusal import refusal
from shared.core.token import Moment
from tests.core.entra.answers import bodies
from tests.tables import case_id, cases

ASKED = Moment(wall=1_800_000_000, boot=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An answer other than 200; tests/data/answers.toml describes the fields."""

    id: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str
    becomes: str
    answer: tuple[int, int]
    cause: str
    code: int | None = None
    trace_id: str | None = None


@pytest.mark.parametrize("case", cases("answers.toml", Case, "refusal", beside=["token"]), ids=case_id)
def test_a_refusal_has_one_meaning(case: Case) -> None:
    """REL-03 to REL-10, REL-16: what the caller is told, and the bare number that the operator is."""
    error = refusal(case.status, case.headers, case.body.encode(), now=ASKED.wall)
    wait = error.wait.total_seconds() if error.wait else 0
    assert (type(error).__name__, error.cause) == (case.becomes, case.cause)
    assert (error.status, wait, error.of_request) == (*case.answer, case.status != 429)
    known = meaning(case.code) if case.code else None
    assert (error.remedy, error.trace_id) == (known.remedy if known else None, case.trace_id)
    assert vars(error.with_wait(error.wait)) == vars(error)


@pytest.mark.parametrize("status", [302, 400, 401, 408, 429, 500])
@pytest.mark.parametrize("error", ["CANARY", "invalid_scope", "invalid_client", "temporarily_unavailable"])
def test_upstream_text_is_left_behind(status: int, error: str) -> None:
    """SEC-10: no word of Entra's is in anything that hangs on the error."""
    body = json.dumps({"error": error, "error_description": "AADSTS700016: CANARY", "trace_id": "CANARY"})
    found = refusal(status, {"retry-after": "CANARY", "location": "CANARY"}, body.encode(), now=ASKED.wall)
    assert "CANARY" not in f"{found!r} {found.args} {vars(found)} {found.__cause__!r} {found.__context__!r}"


# Dates that Python's parser takes apart, and then cannot put together.
dates = st.from_regex(r"(Mon, )?\d{1,3} (Jan|Feb|Foo) \d{1,5} \d\d:\d\d:\d\d (GMT|[+-]\d{4,5})", fullmatch=True)


@given(
    status=st.integers(201, 599),
    header=st.none() | st.text() | dates,
    body=bodies,
)
@example(status=400, header="Mon, 01 Jan 0001 00:00:00 +2359", body=b"")
@example(status=400, header="Fri, 31 Dec 9999 23:59:59 -2359", body=b"")
def test_no_refusal_breaks_the_reader(status: int, header: str | None, body: bytes) -> None:
    """TST-16: any status, Retry-After and bytes have a meaning, with an ASCII cause and a wait of at most a day."""
    headers = {} if header is None else {"retry-after": header}
    error = refusal(status, headers, body, now=ASKED.wall)
    assert error.cause.isascii()
    assert error.wait is None or timedelta(seconds=1) <= error.wait <= timedelta(days=1)
