import asyncio
import hashlib
import json
import logging
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

import pytest

from shared.api.routes import ENTRA, FUNCTION_KEY, MANAGED_IDENTITY, OAUTH, ROUTES, Route
from shared.core.errors import CredentialRefused, Unavailable, UnreadableAnswer, VendError
from shared.core.request import Incoming
from shared.core.token import AccessToken, TokenFacts
from shared.telemetry.events import log_line
from tests.api.shop import (
    ALLOW,
    ANYBODYS,
    BILLING,
    EVERYBODY,
    FORM,
    KEY,
    MEDIA,
    OTHER_SCOPE,
    OTHERS,
    SCOPE,
    Shop,
    denied,
    entry,
    good,
    malformed,
)


def test_the_answer_tells_less_than_is_left() -> None:
    """Nobody is told a life that the token does not have: both numbers keep the margin, whatever its age."""
    shop = Shop(lambda _: token)
    token = shop.token()
    shop.clock.tick(100.5)
    body = json.loads(shop.ask().body)
    assert (body["expires_in"], body["refresh_in"]) == (3489, 1340)
    assert body["expires_on"] == int(shop.clock().wall) + 3489
    assert json.loads(shop.answer(MANAGED_IDENTITY, good(MANAGED_IDENTITY)).body)["expires_on"] == str(
        body["expires_on"]
    )
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


def test_a_token_that_no_answer_can_be_made_of_is_not_told_as_vended() -> None:
    """FND-C7: the answer is made before the event says what it is."""
    shop = Shop(lambda shop: AccessToken("canary", shop.clock(), lifetime=3600.0, refresh_after=math.nan))
    answer = shop.ask()
    assert (answer.status, json.loads(answer.body)["error"]) == (500, "server_error")
    (event,) = map(json.loads, shop.lines)
    assert (event["status"], event["outcome"], event["reason"]) == (500, "server_error", "ValueError")
    assert "token" not in event


@pytest.mark.parametrize(
    ("mode", "status", "outcomes"),
    [("audit", 200, ["vended", "vended"]), ("enforce", 400, ["vended", "invalid_scope"])],
    ids=["audit", "enforce"],
)
@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_what_audit_mode_would_have_denied_is_told(route: Route, mode: str, status: int, outcomes: list[str]) -> None:
    """FND-H5: the token is vended, and its event has the reason for which `enforce` refuses the same request."""
    shop = Shop(Shop.token, document=entry("billing", f'mode = "{mode}"', ALLOW, key=KEY))
    listed = good(route)
    unlisted = replace(
        listed,
        url=listed.url.replace("graph.microsoft.com/", "graph.microsoft.com/reports"),
        body=listed.body.replace(b"%2F.default", b"%2Freports%2F.default"),
    )
    assert [shop.answer(route, incoming).status for incoming in (listed, unlisted)] == [200, status]
    events = [json.loads(line) for line in shop.lines]
    assert [event["outcome"] for event in events] == outcomes
    assert [event["scope"] for event in events] == [SCOPE, OTHER_SCOPE]
    assert [event.get("reason") for event in events] == [None, "no entry lists this scope"]


def test_a_log_that_fails_breaks_nothing() -> None:
    """REL-37: the answer is given, and the loss is counted."""

    def full(line: str) -> None:
        raise OSError(line)

    shop = Shop(Shop.token, log=full)
    assert shop.ask().status == 200
    assert shop.events.lost == 1


def strange(incoming: Incoming) -> Incoming:
    """Take away what proves the caller, wherever it stands."""
    headers = {"content-type": incoming.headers.get("content-type", "")}
    return replace(incoming, headers=headers, body=incoming.body.replace(b"client_assertion=", b"another="))


# Each is what is wrong with a request, beside all that is wrong with those behind it: the first alone is answered.
WRONG: list[tuple[int, Callable[[Incoming], Incoming]]] = [
    (405, lambda incoming: replace(incoming, method="PATCH")),
    (400, lambda incoming: replace(incoming, url=f"{incoming.url}&code=x" if "?" in incoming.url else "/?code=x")),
    (413, lambda incoming: replace(incoming, body=b"x" * 20_000)),
    (415, lambda incoming: replace(incoming, headers={**incoming.headers, "content-type": "application/json"})),
    (401, strange),
    (429, lambda incoming: incoming),
    (400, malformed),
    (400, denied),
]


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_the_first_check_that_fails_answers(route: Route) -> None:
    """The order of checks is part of the contract, on every route: the key comes before the syntax, for instance."""
    shop = Shop(Shop.token)
    assert shop.answer(route, good(route)).status == 200
    assert json.loads(shop.lines[-1])["route"] == route.name
    for index, (status, _) in enumerate(WRONG):
        if (status, route) == (415, MANAGED_IDENTITY):  # which has no body
            continue
        limited = ("per_worker_per_minute = 1",) if index <= 5 else ()
        shop = Shop(Shop.token, document=entry("billing", *limited, ALLOW, key=KEY))
        shop.answer(route, denied(good(route)))
        incoming = good(route)
        for _, spoil in reversed(WRONG[index:]):
            incoming = spoil(incoming)
        answer = shop.answer(route, incoming)
        assert answer.status == status
        assert json.loads(shop.lines[-1])["status"] == status
        assert ("Allow" in answer.headers, answer.headers.get("Allow", route.method)) == (status == 405, route.method)
        assert answer.headers.get("WWW-Authenticate") == (route.challenge if status == 401 else None)


@pytest.mark.parametrize("route", [MANAGED_IDENTITY, OAUTH, ENTRA], ids=["msi", "oauth2", "entra"])
def test_a_route_whose_keys_the_host_does_not_check_is_shut(route: Route) -> None:
    """403 before the key is read, unless the operator has opened it."""
    answers = [Shop(Shop.token, app_checked_routes=False).answer(route, good(route, key=key)) for key in (KEY, "x")]
    assert [answer.status for answer in answers] == [403, 403]
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_everybody_is_who_the_host_let_in(route: Route) -> None:
    """FND-H1: the entry `*` is for keys that the host has accepted, and for no others."""
    shop = Shop(Shop.token, document=BILLING + EVERYBODY)
    assert shop.answer(route, good(route, key=ANYBODYS)).status == (200 if route.host_checked else 401)


def test_a_key_is_good_for_its_own_name_alone() -> None:
    """The client_id of an OAuth client must be the name of the caller whose key it sends."""
    shop = Shop(Shop.token)
    assert [shop.answer(OAUTH, good(OAUTH, name=name)).status for name in ("billing", "reports")] == [200, 401]


@pytest.mark.parametrize("error", [Unavailable, UnreadableAnswer, CredentialRefused])
def test_only_what_is_worth_it_has_an_azure_sdk_wait(error: type[VendError]) -> None:
    """azure-core sits out every Retry-After three times over, and not every SDK repeats 502."""

    def fail(_: Shop) -> AccessToken:
        raise error

    answer = Shop(fail).answer(MANAGED_IDENTITY, good(MANAGED_IDENTITY))
    assert (answer.status, "Retry-After" in answer.headers) == ((503, True) if error.retryable else (502, False))


def test_a_caller_over_its_rate_is_told_when_to_come_back() -> None:
    """SEC-16: counted once the key is known and before anything is done for the request, bad ones too."""
    shop = Shop(Shop.token, document=entry("billing", "per_worker_per_minute = 2", ALLOW, key=KEY))
    assert [shop.ask(b"x").status, shop.ask().status] == [400, 200]
    refused = shop.ask()
    assert (refused.status, json.loads(refused.body)["error"]) == (429, "slow_down")
    assert (refused.headers["Retry-After"], json.loads(refused.body)["retryable"]) == ("30", True)
    assert shop.ask(b"x").status == 429
    assert [shop.ask(key="").status, shop.ask(method="GET").status] == [401, 405]
    shop.clock.tick(30)
    assert [shop.ask().status, shop.ask().status] == [200, 429]
    assert json.loads(shop.lines[-1])["outcome"] == "slow_down"


def test_a_rate_is_that_of_one_caller() -> None:
    """FND-H4: two callers with a rate use up each its own."""
    both = [entry(name, "per_worker_per_minute = 2", ALLOW, key=key) for name, key in (("billing", KEY), ("o", OTHERS))]
    shop = Shop(Shop.token, document="".join(both))
    assert [shop.ask(key=key).status for key in (KEY, KEY, KEY, OTHERS, OTHERS, OTHERS)] == [200, 200, 429] * 2


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (FUNCTION_KEY, "no credentials were sent: the header x-functions-key"),
        (OAUTH, "no credentials were sent: HTTP Basic, or client_id and client_secret"),
        (MANAGED_IDENTITY, "no credentials were sent: the header x-identity-header"),
        (ENTRA, "no credentials were sent: client_assertion"),
    ],
    ids=[route.name for route in ROUTES],
)
def test_a_request_without_credentials_is_told_what_it_lacks(route: Route, text: str) -> None:
    """FND-C12: the status and the challenge are those of any unknown caller."""
    answer = Shop(Shop.token).answer(route, replace(good(route), headers={"content-type": MEDIA}, body=FORM))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, route.challenge)
    assert json.loads(answer.body)["error_description"] == text


@pytest.mark.parametrize("wait", [1, 10, 11, 3_600])
def test_an_azure_sdk_is_told_to_wait_ten_seconds_at_most(wait: int) -> None:
    """FND-C17: it blocks three times as long as it is told; an OAuth client decides for itself."""

    def fail(_: Shop) -> AccessToken:
        raise Unavailable(wait=timedelta(seconds=wait))

    answers = [Shop(fail).answer(route, good(route)) for route in ROUTES]
    assert [answer.headers["Retry-After"] for answer in answers] == [
        str(wait), str(wait), str(min(wait, 10)), str(wait),
    ]  # fmt: skip


def test_a_caller_over_its_rate_is_told_the_same_by_an_azure_sdk() -> None:
    """FND-C17: whatever the reason for the wait is."""
    shop = Shop(Shop.token, document=entry("billing", "per_worker_per_minute = 1", ALLOW, key=KEY))
    answers = [shop.answer(MANAGED_IDENTITY, good(MANAGED_IDENTITY)) for _ in range(2)]
    assert (answers[1].status, answers[1].headers["Retry-After"]) == (429, "10")


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize("method", ["HEAD", None], ids=["HEAD", "an error of the app"])
def test_the_event_has_the_status_of_the_answer(route: Route, method: str | None) -> None:
    """FND-C7: of an answer without a body, and of one that a defect made, too."""

    def fail(_: Shop) -> AccessToken:
        raise KeyError

    shop = Shop(fail)
    answer = shop.answer(route, replace(good(route), method=method or route.method))
    (event,) = map(json.loads, shop.lines)
    assert event["status"] == answer.status == (405 if method else 500)
    assert (answer.body == b"") is (method == "HEAD")


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_the_event_is_written_before_the_answer_is_sent(route: Route) -> None:
    """SEC-20: what is written later belongs to no invocation, and the host drops it; a refusal is no different."""
    shop = Shop(Shop.token)

    async def story() -> None:
        for incoming in (good(route), denied(good(route)), replace(good(route), method="PATCH")):
            before = len(shop.lines)
            await shop.vendor.answer(route, incoming)
            assert len(shop.lines) == before + 1

    asyncio.run(story())


def test_the_event_names_the_token_and_does_not_hold_it() -> None:
    """SEC-21: a token is in the log as 12 digits of its hash and by Entra's own id, and no part of it is."""
    secret = "".join(random.Random(21).choices("abcdefghijklmnopqrstuvwxyz", k=64))  # noqa: S311  # not for cryptography
    said = TokenFacts(uti="aZ09_-8vQUWFvJk1E2cAAA")
    shop = Shop(lambda at: AccessToken(secret, at.clock(), lifetime=3600, refresh_after=1440, facts=said))
    assert secret.encode() in shop.ask().body
    (line,) = shop.lines
    event = json.loads(line)
    assert (event["token"], event["uti"]) == (hashlib.sha256(secret.encode()).hexdigest()[:12], said.uti)
    assert not [part for part in (secret[:12], secret[-12:]) if part in line]


def test_the_event_tells_the_end_of_the_token_and_the_time_it_took() -> None:
    """SEC-20: the end that Entra gave it, not the one that the caller is told, and the milliseconds of this request."""

    def slow(shop: Shop) -> AccessToken:
        token = shop.token()
        shop.clock.tick(1.25)
        return token

    shop = Shop(slow)
    began = shop.clock().wall
    shop.ask()
    event = json.loads(shop.lines[0])
    assert (event["expires_on"], event["latency_ms"]) == (began + 3600, 1250)


# What breaks lines, forges events, and speaks to terminals, formatters and log viewers.
HOSTILE = (
    "\r\n", "\n", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ud800", '"', "\\", "%s%n", "{0.__class__}",
    "${jndi:ldap://x}", '\n{"event":"token","caller":"admin"}', "x" * 300, "/.default", "https://", " ",
)  # fmt: skip


def hostile_requests() -> Iterator[tuple[Route, Incoming]]:
    """Make a thousand requests, with a hostile value in a different place each."""
    chance = random.Random(20)  # noqa: S311  # not for cryptography
    names = ("scope", "grant_type", "tenant", "claims", "resource", "client_id", "api-version", "unknown")
    for turn in range(1_000):
        route, value = ROUTES[turn % 3], "".join(chance.choices(HOSTILE, k=chance.randint(1, 5)))
        incoming, field = good(route), {chance.choice(names): value}
        match turn % 7:
            case 0:
                incoming = replace(incoming, method=value)
            case 1:
                incoming = replace(incoming, url=incoming.url + value)
            case 2:
                incoming = replace(incoming, url=f"{incoming.url}?{urlencode(field, errors='surrogatepass')}")
            case 3:
                incoming = replace(incoming, headers={**incoming.headers, "user-agent": value, "content-type": value})
            case 4:
                incoming = replace(incoming, headers={**incoming.headers, "x-functions-key": value})
            case _:
                form = {**dict(parse_qsl(FORM.decode())), **field}
                incoming = replace(incoming, body=urlencode(form, errors="surrogatepass").encode())
        yield route, incoming


def test_no_value_of_a_caller_forges_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """SEC-20, ABU-49, ABU-96: every request leaves one line, and nothing else in any log, wherever the value stands."""
    shop = Shop(Shop.token, log=log_line)

    async def ask_all() -> None:
        for route, incoming in hostile_requests():
            shop.clock.tick(1)  # or those that nobody knows would only be counted
            await shop.vendor.answer(route, incoming)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(ask_all())
    lines = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    events = [json.loads(line) for line in lines]
    assert len(lines) == 1_000
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert {event["event"] for event in events} == {"token"}
    assert {event.get("caller") for event in events} == {None, "billing"}
    assert {200, 400, 401, 405} <= {event["status"] for event in events}, "too little was reached"


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize("key", [None, "short"], ids=["no credentials", "malformed ones"])
def test_without_credentials_nobody_waits_for_the_callers_document(route: Route, key: str | None) -> None:
    """FND-B4: strangers are refused before anything is read."""
    shop = Shop(Shop.token)
    sent = good(route)
    secrets = {"x-functions-key", "x-identity-header", "authorization"}
    headers = {name: value for name, value in sent.headers.items() if name not in secrets}
    if key is not None:
        headers |= dict.fromkeys(secrets & sent.headers.keys(), key)
    body = sent.body.replace(b"client_assertion=", b"client_assertion=+" if key else b"another=")
    assert shop.answer(route, replace(sent, headers=headers, body=body)).status == 401
    assert shop.reads == 0
    assert shop.answer(route, sent).status == 200
    assert shop.reads == 1
