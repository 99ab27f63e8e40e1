import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import jwt
import pytest

from shared.core.entra.clouds import CLOUDS
from shared.core.errors import (
    CredentialRefused,
    ScopeRefused,
    TimedOut,
    TlsRefused,
    Unavailable,
    VendError,
)
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import TokenSource, Wanted
from shared.tokens.acquire import Client, Entra
from tests.credentials.bench import CLIENT, ENDPOINT, KEY, TENANT, Bench


def answer(secret: str = "opaque", **members: str) -> Reply:
    """Make an answer with a token."""
    body = {"token_type": "Bearer", "expires_in": 3600, "access_token": secret, **members}
    return Reply(200, json.dumps(body).encode())


TOKEN = answer()
GARBAGE = Reply(200, b"<html>")


class FakeEntra:
    """Gives its answers in turn, the last one for ever, and remembers what it was sent."""

    def __init__(self, *answers: Reply | VendError) -> None:
        self._answers = list(answers)
        self.urls: list[str] = []
        self.form: Mapping[str, list[str]] = {}
        self.headers: Mapping[str, str] = {}

    async def post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        """Answer, or fail as a connection does."""
        self.urls.append(url)
        self.form, self.headers = parse_qs(form.decode()), headers
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, VendError):
            raise answer
        return answer


def entra(bench: Bench, upstream: FakeEntra, *, region: str = "", capabilities: tuple[str, ...] = ()) -> Entra:
    """Make what acquires tokens from it."""
    return Entra(
        cloud=CLOUDS["public"],
        clients={"graph": Client(client_id=CLIENT, credential=bench.chain, region=region, capabilities=capabilities)},
        post=upstream.post,
        limits=Limits(),
        system=bench.system,
        events=bench.events,
    )


def test_a_token_is_acquired_for_its_key() -> None:
    """The key's tenant is in the URL, its scope in the form with the assertion, an id in the header."""
    bench = Bench()
    upstream = FakeEntra(TOKEN)
    token, source = asyncio.run(entra(bench, upstream).acquire(Wanted(KEY, flight_id="id-7")))
    assert source is TokenSource.IDENTITY_PROVIDER
    assert (token.secret, token.asked, token.lifetime) == ("opaque", bench.clock(), 3_600)
    assert token.refresh_after == pytest.approx(1_440)
    assert upstream.urls == [ENDPOINT]
    assert (upstream.form["scope"], upstream.form["client_id"]) == ([KEY.scope], [CLIENT])
    assert upstream.form["client_assertion"] == [bench.assertion()]
    assert upstream.headers["client-request-id"] == "id-7"


@pytest.mark.parametrize(
    ("reply", "error", "wait"),
    [
        (Reply(400, b'{"error": "invalid_scope"}'), ScopeRefused, None),
        (Reply(401, b'{"error": "invalid_client"}'), CredentialRefused, 60),
        (Reply(429, b"", {"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}), Unavailable, 30),
        (Reply(201, b'{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}'), VendError, 5),
    ],
    ids=["invalid_scope", "invalid_client", "throttled until a date", "success of another kind"],
)
def test_a_refusal_is_told_by_its_meaning(reply: Reply, error: type[VendError], wait: float | None) -> None:
    """Status, headers and body reach `refusal`, with the wall clock that a date is counted from."""
    with pytest.raises(error) as caught:
        asyncio.run(entra(Bench(), FakeEntra(reply)).acquire(Wanted(KEY, flight_id="id-7")))
    assert caught.value.wait == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize("step", [-100, 0, 100])
def test_the_clock_of_entra_is_known_whatever_becomes_of_ours(step: int) -> None:
    """FND-C6: ours is set while the answer is under way; set back, it would make the token meet what comes later."""
    bench = Bench()
    asked = bench.clock().wall
    date = format_datetime(datetime.fromtimestamp(asked + 1, UTC), usegmt=True)

    class LateEntra(FakeEntra):
        async def post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
            bench.clock.tick(2)
            bench.clock.jump(step)
            return await super().post(url, form, headers=headers)

    upstream = LateEntra(Reply(200, TOKEN.body, {"date": date}))
    token, _ = asyncio.run(entra(bench, upstream).acquire(Wanted(KEY)))
    assert token.asked_by_entra == asked - 1


@pytest.mark.parametrize(
    ("first", "attempts"),
    [
        (Unavailable(), 2),
        (TimedOut(), 2),
        (Reply(503, b""), 2),
        (GARBAGE, 2),
        (Reply(503, b"", {"retry-after": "1"}), 1),
        (Reply(302, b""), 1),
        (answer(token_type="pop"), 1),
        (Reply(400, b'{"error": "invalid_scope"}'), 1),
        (TlsRefused(), 1),
    ],
    ids=["refused", "timeout", "503", "garbled", "Retry-After", "redirect", "wrong answer", "scope", "TLS"],
)
def test_what_may_pass_is_tried_once_more(first: Reply | VendError, attempts: int) -> None:
    """REL-01 to REL-16: a second attempt after a second, unless upstream named a wait or would say the same again."""
    bench = Bench()
    upstream = FakeEntra(first, first, TOKEN)
    with pytest.raises(VendError):
        asyncio.run(entra(bench, upstream).acquire(Wanted(KEY, flight_id="id-7")))
    assert (len(upstream.urls), bench.pauses) == (attempts, [1.0] * (attempts - 1))
    mended = FakeEntra(first, TOKEN)
    if attempts == 2:
        assert asyncio.run(entra(Bench(), mended).acquire(Wanted(KEY, flight_id="id-7"))).token.secret == "opaque"


def test_a_regional_endpoint_is_asked_first() -> None:
    """The region's host is asked with an assertion for the global one, which is asked where the region fails."""
    bench = Bench()
    upstream = FakeEntra(TOKEN, Reply(503, b""), TOKEN)
    source = entra(bench, upstream, region="westeurope")
    for _ in range(2):
        asyncio.run(source.acquire(Wanted(KEY, flight_id="id-7")))
    regional = f"https://westeurope.login.microsoft.com/{TENANT}/oauth2/v2.0/token"
    assert upstream.urls == [regional, regional, ENDPOINT]
    assert jwt.decode(upstream.form["client_assertion"][0], options={"verify_signature": False})["aud"] == ENDPOINT


def test_a_refused_region_is_not_asked_again() -> None:
    """AADSTS100007: the global endpoint answers the same request at once, and all later ones; an event tells it."""
    bench = Bench()
    body = b'{"error": "invalid_client", "error_description": "AADSTS100007: no"}'
    upstream = FakeEntra(Reply(400, body), TOKEN)
    source = entra(bench, upstream, region="westeurope")
    for _ in range(2):
        assert asyncio.run(source.acquire(Wanted(KEY, flight_id="id-7"))).token.secret == "opaque"
    assert [url == ENDPOINT for url in upstream.urls] == [False, True, True]
    assert [(event["event"], event["region"]) for event in bench.told()] == [("region_refused", "westeurope")]
    assert bench.pauses == []


@pytest.mark.parametrize(
    ("capabilities", "challenge", "sent"),
    [
        ((), None, None),
        ((), '{"access_token":{"acrs":null}}', '{"access_token":{"acrs":null}}'),
        (("cp1",), None, '{"access_token":{"xms_cc":{"values":["cp1"]}}}'),
        (
            ("cp1",),
            '{"access_token":{"acrs":{"value":"c1"}}}',
            '{"access_token":{"acrs":{"value":"c1"},"xms_cc":{"values":["cp1"]}}}',
        ),
    ],
    ids=["neither", "challenge", "capability", "both"],
)
def test_a_challenge_is_merged_with_what_the_profile_declares(
    capabilities: tuple[str, ...], challenge: str | None, sent: str | None
) -> None:
    """xms_cc comes from the profile, everything else from the caller; without either nothing is sent."""
    upstream = FakeEntra(TOKEN)
    asyncio.run(entra(Bench(), upstream, capabilities=capabilities).acquire(Wanted(KEY, challenge, flight_id="id-7")))
    assert upstream.form.get("claims", [None]) == [sent]


def jwt_for(**claims: object) -> Reply:
    """Answer with a token that says this of itself."""
    text = jwt.encode({"tid": TENANT, "appid": CLIENT, "roles": ["Reader"], **claims}, "0" * 32, algorithm="HS256")
    return answer(text)


@pytest.mark.parametrize(
    ("answers", "events"),
    [
        ([TOKEN], []),
        ([jwt_for(aud="a"), jwt_for(aud="a")], []),
        ([jwt_for(roles=[])], ["token_without_roles"]),
        ([jwt_for(aud="a"), jwt_for(aud="b"), jwt_for(aud="b")], ["audience_changed"]),
        ([answer(scope="api://other/.default")], ["scope_differs"]),
        ([answer(scope=KEY.scope)], []),
        ([Reply(200, TOKEN.body, {"date": "Fri, 15 Jan 2027 07:57:59 GMT"})], ["clock_differs"]),
        ([Reply(200, TOKEN.body, {"date": "Fri, 15 Jan 2027 08:02:01 GMT"})], ["clock_differs"]),
        ([Reply(200, TOKEN.body, {"date": "Fri, 15 Jan 2027 08:02:00 GMT"})], []),
        ([Reply(200, TOKEN.body, {"date": "yesterday"})], []),
    ],
    ids=["opaque", "ordinary", "no roles", "audience", "scope", "same scope", "late", "early", "near", "no date"],
)
def test_what_is_odd_is_vended_and_told(answers: list[Reply], events: list[str]) -> None:
    """SEC-14, REL-15, REL-36: none of this makes a token unusable, all of it is worth a line."""
    bench = Bench()
    source = entra(bench, FakeEntra(*answers))
    for _ in answers:
        assert asyncio.run(source.acquire(Wanted(KEY, flight_id="id-7"))).token.secret
    assert [event["event"] for event in bench.told()] == events
