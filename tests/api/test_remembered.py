import asyncio
import gc
import secrets
import weakref
from dataclasses import replace

import pytest

from shared.api.remembered import FORMS, RememberedForms
from shared.api.routes import ROUTES, Route
from shared.core.errors import InvalidRequest
from shared.core.request import Incoming, TokenRequest
from shared.core.token import AccessToken
from tests.api.shop import Shop, good, malformed
from tests.clock import run_virtual, settle


class Reader:
    """Reads forms, and counts."""

    def __init__(self) -> None:
        self.read_forms: list[bytes] = []
        self.forms = RememberedForms(self._read)

    def _read(self, body: bytes, query: str) -> TokenRequest:
        self.read_forms.append(body + query.encode())
        if body == b"bad":
            raise InvalidRequest
        return TokenRequest(scopes=((body + b"?" + query.encode()).decode(),))


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_no_form_stays_in_memory(route: Route) -> None:
    """FND-B9: a field that is ignored may hold a password; what is remembered is what was understood."""
    canary = secrets.token_hex()
    incoming = good(route)
    more = f"passwort={canary}"
    for sent in (
        replace(incoming, body=incoming.body + b"&" + more.encode()),
        replace(incoming, url=f"{incoming.url}{'&' if '?' in incoming.url else '?'}{more}"),
    ):
        assert Shop(Shop.token).answer(route, sent).status == 200
    del sent, more
    assert held(canary) == []


def held(canary: str) -> list[str]:
    """List the types of all objects that hold a text with these signs in it."""
    gc.collect()
    return [
        type(holder).__name__
        for holder in gc.get_objects()
        for text in gc.get_referents(holder)
        if (type(text) is str and canary in text and text is not canary)
        or (type(text) is bytes and canary.encode() in text)
    ]


def test_a_form_is_read_once() -> None:
    """The same form, with the same query, is remembered; every other one is read for itself."""
    reader = Reader()
    for body, query in ((b"a", ""), (b"a", ""), (b"", "a"), (b"a1", ""), (b"a", "1"), (b"a", "1")):
        assert reader.forms.read(body, query).scopes == (f"{body.decode()}?{query}",)
    assert reader.read_forms == [b"a", b"a", b"a1", b"a1"]


def test_a_form_that_is_refused_is_read_again() -> None:
    """Only what was understood is remembered."""
    reader = Reader()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            reader.forms.read(b"bad", "")
    assert reader.read_forms == [b"bad"] * 2


def test_the_forms_that_are_used_are_remembered() -> None:
    """The one unused for longest gives way to a new one."""
    reader = Reader()
    for number in range(FORMS):
        reader.forms.read(b"%d" % number, "")
    reader.forms.read(b"0", "")
    reader.forms.read(b"new", "")
    assert len(reader.read_forms) == FORMS + 1
    reader.forms.read(b"0", "")
    assert len(reader.read_forms) == FORMS + 1
    reader.forms.read(b"1", "")
    assert len(reader.read_forms) == FORMS + 2


class Sent(Incoming):
    """A request that can be watched."""


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize(
    ("seconds", "status"), [(0, 500), (1, 500), (60, 504)], ids=["at once", "after a wait", "late"]
)
def test_a_request_that_failed_leaves_memory_with_its_answer(route: Route, seconds: float, status: int) -> None:
    """SEC-09: it has a key; no error keeps it until the garbage is collected, and a flood of them costs no memory."""

    async def fail(_: Shop) -> AccessToken:
        if seconds:
            await asyncio.sleep(seconds)
        raise ValueError

    shop = Shop(fail)

    async def story() -> None:
        await shop.vendor.answer(route, malformed(good(route)))  # the document is read, and a token verified
        sent = good(route)
        sent = Sent(sent.method, sent.url, sent.headers, sent.body)
        watched = weakref.ref(sent)
        gc.disable()
        try:
            assert (await shop.vendor.answer(route, sent)).status == status
            del sent
            await settle()
            assert watched() is None
        finally:
            gc.enable()

    run_virtual(story, shop.clock)
