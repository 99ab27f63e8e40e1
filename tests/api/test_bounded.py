"""FND-B4, SEC-30: what anybody can have the app do before it knows the caller, in decoded bytes and in calls."""

import base64
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.api.routes import MANAGED_IDENTITY, OAUTH, ROUTES, Route
from shared.core.errors import VendError
from shared.core.form import CREDENTIAL_LIMIT, FIELDS
from shared.core.request import BODY_LIMIT, Incoming
from shared.core.url import NAME_LIMIT
from tests.wire import FORM_MEDIA

# The names of the URL; name and key, each once; and once more the names, for the other reading of HTTP Basic.
BYTES = FIELDS * NAME_LIMIT + 5 * CREDENTIAL_LIMIT
# Python's own functions among them, and those that a decoder calls for each escape.
CALLS = 1_500
DECODERS = {"_unescaped", "unquote", "unquote_to_bytes"}


@dataclass
class Work:
    """What was done."""

    decoded: int = 0
    calls: int = 0


@contextlib.contextmanager
def watched() -> Iterator[Work]:
    """Count every call, and what is handed to the decoders of escapes."""
    work, before = Work(), sys.getprofile()

    def see(frame: FrameType, what: str, _: Any) -> None:  # noqa: ANN401  # as `sys` has it
        if what in {"call", "c_call"}:
            work.calls += 1
        if what == "call" and frame.f_code.co_name in DECODERS:
            work.decoded += len(next(iter(frame.f_locals.values())))  # the first argument

    sys.setprofile(see)
    try:
        yield work
    finally:
        sys.setprofile(before)


def ask(route: Route, query: str, headers: dict[str, str], body: bytes) -> Work:
    """Do for a request all that comes before the look-up of the caller."""
    incoming = Incoming(
        route.method, f"https://vend.test/api/{route.name}?{query}", {"content-type": FORM_MEDIA, **headers}, body
    )
    with watched() as work:
        for step in (route.check, route.credentials, route.unencoded_credentials):
            with contextlib.suppress(VendError):
                step(incoming)
    return work


HOSTILE = [
    "%&", "&", "%", "=", "%41&", "%41", "%FF&", "a=1&", "client_id=%41&", "client_secret=%41", "client_secret=%41&",
    "&client%5Fsecret=%41%41", "code%41=1&", "%63ode", ";", "&client_id=a&client_secret=" + "%41" * 171, "+", "%2", "x",
]  # fmt: skip
PAIRS = ["%41" * 170 + ":" + "%41" * 170, "%25%34%31:" + "+%41" * 128, "a:" + "%" * 512, "%41" * 2_000]
BASIC = [
    "Basic " + "QUFB" * 5_000, "Basic " * 3_000, " " * BODY_LIMIT, "basic" + " " * BODY_LIMIT,
    *(f"Basic {base64.b64encode(pair.encode()).decode()}" for pair in PAIRS),
]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize("text", HOSTILE)
def test_work_before_the_caller_is_known_is_bounded(route: Route, text: str) -> None:
    """Whatever fills the body, the URL and the headers, as much is done as for a few hundred bytes."""
    whole = (text * BODY_LIMIT)[:BODY_LIMIT]
    for query, body in (("", whole), (whole, ""), (whole[:2_000], whole)):
        for authorization in (None, *BASIC):
            headers = {} if authorization is None else {"authorization": authorization}
            work = ask(route, query, headers, body.encode())
            assert work.decoded <= BYTES
            assert work.calls <= CALLS
    for header in ("x-functions-key", "x-identity-header", "content-type", "authorization"):
        work = ask(route, "", {header: whole}, b"")
        assert (work.decoded, work.calls <= 100) == (0, True)


@given(
    route=st.sampled_from([OAUTH, MANAGED_IDENTITY]),
    fields=st.lists(st.sampled_from(HOSTILE), max_size=80),
    times=st.integers(1, 200),
)
def test_no_mixture_costs_more(route: Route, fields: list[str], times: int) -> None:
    """The same for any mixture of these."""
    whole = ("".join(fields) * times)[:BODY_LIMIT]
    work = ask(route, whole, {}, whole.encode())
    assert work.decoded <= BYTES
    assert work.calls <= CALLS
