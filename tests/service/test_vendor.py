import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.audit import Events
from shared.core.errors import UnknownCaller
from shared.core.policy import Allow, Caller, Offer
from shared.core.token import AccessToken, TokenKey, TokenSource
from shared.vendor import Incoming, Vendor
from shared.web import Answer
from tests.clock import FakeClock

TENANT = "11111111-1111-1111-1111-111111111111"
SCOPE = "https://graph.microsoft.com/.default"
KEY = "k" * 40
FORM = b"grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
MEDIA = "application/x-www-form-urlencoded"
BILLING = Caller(name="billing", allow=(Allow(profile="graph", scopes=(SCOPE,)),))


class Shop:
    """A vendor whose token source does as it is told; what leaves it is listed in order."""

    def __init__(self, get_token: Callable[["Shop"], AccessToken], *, log: Callable[[str], None] | None = None) -> None:
        self.lines: list[str] = []
        self.caller = BILLING
        self._get_token = get_token
        self.clock = FakeClock()
        self.events = Events(log or self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.vendor = Vendor(
            identify=self._identify,
            get_token=self._served,
            offers={"graph": Offer(tenants=(TENANT,), scopes=(SCOPE,), vendable=True)},
            clock=self.clock,
            events=self.events,
            new_id=lambda: "an-id",
            told_margin_seconds=10,
        )

    def ask(self, body: bytes = FORM, *, method: str = "POST", key: str = KEY, query: str = "") -> Answer:
        """Answer one request."""
        headers = {"x-functions-key": key, "content-type": MEDIA}
        incoming = Incoming(method, f"http://localhost/api/token{query}", headers, body)
        return asyncio.run(self.vendor.token(incoming))

    def token(self, lifetime: float = 3600.0) -> AccessToken:
        """Make a token that was got now."""
        return AccessToken("secret", self.clock(), lifetime=lifetime, refresh_after=1440.0)

    def _identify(self, key: str) -> Caller:
        if key != KEY:
            raise UnknownCaller(cause="unknown key")
        return self.caller

    async def _served(self, key: TokenKey, *, claims: str | None, rejected: str | None) -> "Sold":
        assert (claims, rejected) == (None, None)
        assert key == TokenKey("graph", TENANT, SCOPE)
        return Sold(self._get_token(self))


class Sold:
    """A token from the cache."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token
        self.source = TokenSource.CACHE


def test_the_answer_tells_less_than_is_left() -> None:
    """Nobody is told a life that the token does not have: both numbers keep the margin, whatever its age."""
    shop = Shop(lambda _: token)
    token = shop.token()
    shop.clock.tick(100.5)
    body = json.loads(shop.ask().body)
    assert (body["expires_in"], body["refresh_in"]) == (3489, 1340)
    assert body["expires_on"] == int(shop.clock().wall) + 3489
    shop.clock.tick(1400)
    assert json.loads(shop.ask().body)["refresh_in"] == 30


def test_a_defect_of_ours_is_an_answer_and_an_event() -> None:
    """What nobody foresaw is 500 in RFC form; its text, which may hold anything, is in neither answer nor event."""

    def fail(_: Shop) -> AccessToken:
        raise KeyError("canary")

    shop = Shop(fail)
    answer = shop.ask()
    assert (answer.status, json.loads(answer.body)["error"]) == (500, "server_error")
    (event,) = shop.lines
    assert (json.loads(event)["status"], json.loads(event)["reason"]) == (500, "KeyError")
    assert b"canary" not in answer.body
    assert "canary" not in event


def test_a_log_that_fails_breaks_nothing() -> None:
    """REL-37: the answer is given, and the loss is counted."""

    def full(line: str) -> None:
        raise OSError(line)

    shop = Shop(Shop.token, log=full)
    assert shop.ask().status == 200
    assert shop.events.lost == 1


@pytest.mark.parametrize(
    ("method", "query", "key", "body", "status"),
    [
        ("GET", "?code=x", "", b"x" * 20_000, 405),
        ("POST", "?code=x", "", b"x" * 20_000, 400),
        ("POST", "", "", b"x" * 20_000, 413),
        ("POST", "", "", b"x", 401),
        ("POST", "", "another-key-that-nobody-has", b"x", 401),
        ("POST", "", KEY, b"x", 400),
        ("POST", "", KEY, FORM.replace(b"graph.microsoft.com", b"vault.azure.net"), 400),
        ("POST", "", KEY, FORM, 200),
    ],
)
def test_the_first_check_that_fails_answers(method: str, query: str, key: str, body: bytes, status: int) -> None:
    """The order of checks is part of the contract: the key before the syntax, so that strangers learn nothing."""
    shop = Shop(Shop.token)
    assert shop.ask(body, method=method, query=query, key=key).status == status
    assert len(shop.lines) == 1


def test_a_caller_over_its_rate_is_told_when_to_come_back() -> None:
    """SEC-16: counted once the key is known and before anything is done for the request, bad ones too."""
    shop = Shop(Shop.token)
    shop.caller = replace(BILLING, per_worker_per_minute=2)
    assert [shop.ask(b"x").status, shop.ask().status] == [400, 200]
    refused = shop.ask()
    assert (refused.status, json.loads(refused.body)["error"]) == (429, "slow_down")
    assert (refused.headers["Retry-After"], json.loads(refused.body)["retryable"]) == ("30", True)
    assert shop.ask(b"x").status == 429
    assert [shop.ask(key="").status, shop.ask(method="GET").status] == [401, 405]
    shop.clock.tick(30)
    assert [shop.ask().status, shop.ask().status] == [200, 429]
    assert json.loads(shop.lines[-1])["outcome"] == "slow_down"
