import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from shared.core.entra.certificate import CertificateVersion
from shared.core.entra.token_answer import CLOUDS
from shared.core.errors import CredentialRefused, Denied, OperatorError, TimedOut, Unavailable, UntrustedPeer, VendError
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import TokenKey
from shared.credentials.vault_certificate import Client, Entra, VaultCertificate
from shared.telemetry.events import Events
from tests.clock import FakeClock

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
CLIENT = "cccccccc-1111-1111-1111-111111111111"
KEY = TokenKey("graph", TENANT, "https://graph.microsoft.com/.default")
ENDPOINT = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
REREAD = 6 * 3_600.0
REUSE = 9 * 60.0


class FakeVault:
    """Has one certificate, and signs with a digest of digests; it counts what it is asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.version = "v1"
        self.not_after = datetime.fromtimestamp(clock().wall, UTC) + timedelta(days=30)
        self.readings = 0
        self.signings = 0
        self.error: VendError | None = None

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Read it."""
        self.readings += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return CertificateVersion(
            version=self.version, key_id=f"{name}/{self.version}", thumbprint=self.version, not_after=self.not_after
        )

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Sign."""
        self.signings += 1
        await asyncio.sleep(0)
        return hashlib.sha256(key_id.encode() + digest).digest()


class Bench:
    """A credential with everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pauses: list[float] = []
        self.lines: list[str] = []
        self.events = Events(self.lines.append, wall=lambda: self.clock().wall, worker="w")
        self.vault = FakeVault(self.clock)
        numbers = count()
        self.new_id: Callable[[], str] = lambda: f"id-{next(numbers)}"
        self.credential = VaultCertificate(
            vault=self.vault,
            name="vend",
            client_id=CLIENT,
            clock=self.clock,
            new_id=self.new_id,
            limits=Limits(),
        )

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.pauses.append(seconds)

    def told(self) -> list[Mapping[str, Any]]:
        """List the events."""
        self.events.flush()
        return [json.loads(line) for line in self.lines]

    def assertion(self, audience: str = ENDPOINT) -> str:
        """Get an assertion."""
        return asyncio.run(self.credential.assertion(audience))


def test_an_assertion_is_reused_for_nine_minutes_per_audience() -> None:
    """The vault signs once per audience and nine minutes; each signature is of another `jti`."""
    bench = Bench()
    first, other = bench.assertion(), bench.assertion("https://other.example/token")
    bench.clock.tick(REUSE - 1)
    assert (bench.assertion(), bench.vault.signings) == (first, 2)
    bench.clock.tick(1)
    second = bench.assertion()
    assert (bench.vault.signings, bench.vault.readings) == (3, 1)
    ids = {jwt.decode(text, options={"verify_signature": False})["jti"] for text in (first, other, second)}
    assert len(ids) == 3


@pytest.mark.parametrize("move", [FakeClock.jump, FakeClock.suspend])
def test_either_clock_ends_the_reuse(move: Callable[[FakeClock, float], None]) -> None:
    """REL-36: Entra judges by a clock of its own, so an assertion is kept while both of ours find it young."""
    bench = Bench()
    first = bench.assertion()
    move(bench.clock, REUSE)
    assert bench.assertion() != first


def test_the_assertion_names_the_key_that_signed_it() -> None:
    """The signature is over the SHA-256 of header and claims, by the key of the version whose thumbprint is sent."""
    bench = Bench()
    assertion = bench.assertion()
    signed, _, signature = assertion.rpartition(".")
    expected = hashlib.sha256(b"vend/v1" + hashlib.sha256(signed.encode()).digest()).digest()
    assert jwt.utils.base64url_decode(signature) == expected
    assert jwt.get_unverified_header(assertion)["x5t#S256"] == "v1"


def test_concurrent_callers_share_one_signing() -> None:
    """Fifty who ask at once cost one reading and one signature; another audience costs a signature more."""
    bench = Bench()

    async def story() -> set[str]:
        asked = [ENDPOINT] * 50 + ["https://other.example/token"]
        return set(await asyncio.gather(*(bench.credential.assertion(audience) for audience in asked)))

    assert len(asyncio.run(story())) == 2
    assert (bench.vault.readings, bench.vault.signings) == (1, 2)


def test_the_certificate_is_read_again_when_it_is_old() -> None:
    """REL-30: a new version is found within `reread_seconds`, without a restart."""
    bench = Bench()
    bench.assertion()
    bench.vault.version = "v2"
    bench.clock.tick(REREAD - 1)
    assert jwt.get_unverified_header(bench.assertion())["x5t#S256"] == "v1"
    bench.clock.tick(REUSE)
    assert jwt.get_unverified_header(bench.assertion())["x5t#S256"] == "v2"


def test_an_expired_certificate_does_not_sign() -> None:
    """REL-29: the vault is asked for another one, and its refusal is the answer."""
    bench = Bench()
    bench.vault.not_after = datetime.fromtimestamp(bench.clock().wall + REUSE, UTC)
    bench.assertion()
    bench.clock.tick(REUSE)
    bench.vault.error = OperatorError(cause="no version")
    with pytest.raises(OperatorError):
        bench.assertion()
    assert bench.vault.signings == 1


def test_a_failed_reading_is_not_kept() -> None:
    """REL-23: the next caller asks the vault again."""
    bench = Bench()
    bench.vault.error = Unavailable(cause="down")
    with pytest.raises(Unavailable):
        bench.assertion()
    bench.vault.error = None
    assert bench.assertion()


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
        clients={
            "graph": Client(client_id=CLIENT, credential=bench.credential, region=region, capabilities=capabilities)
        },
        post=upstream.post,
        limits=Limits(),
        clock=bench.clock,
        sleep=bench.sleep,
        draw=lambda: 0.5,
        new_id=bench.new_id,
        events=bench.events,
    )


def test_a_token_is_acquired_for_its_key() -> None:
    """The key's tenant is in the URL, its scope in the form with the assertion, an id in the header."""
    bench = Bench()
    upstream = FakeEntra(TOKEN)
    token = asyncio.run(entra(bench, upstream).acquire(KEY, None))
    assert (token.secret, token.asked, token.lifetime) == ("opaque", bench.clock(), 3_600)
    assert token.refresh_after == pytest.approx(1_440)
    assert upstream.urls == [ENDPOINT]
    assert (upstream.form["scope"], upstream.form["client_id"]) == ([KEY.scope], [CLIENT])
    assert upstream.form["client_assertion"] == [bench.assertion()]
    assert upstream.headers["client-request-id"].startswith("id-")


@pytest.mark.parametrize(
    ("reply", "error", "wait"),
    [
        (Reply(400, b'{"error": "invalid_scope"}'), Denied, None),
        (Reply(401, b'{"error": "invalid_client"}'), CredentialRefused, 60),
        (Reply(429, b"", {"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}), Unavailable, 30),
        (Reply(201, b'{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}'), VendError, 5),
    ],
    ids=["invalid_scope", "invalid_client", "throttled until a date", "success of another kind"],
)
def test_a_refusal_is_told_by_its_meaning(reply: Reply, error: type[VendError], wait: float | None) -> None:
    """Status, headers and body reach `refusal`, with the wall clock that a date is counted from."""
    with pytest.raises(error) as caught:
        asyncio.run(entra(Bench(), FakeEntra(reply)).acquire(KEY, None))
    assert caught.value.wait == (None if wait is None else timedelta(seconds=wait))


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
        (UntrustedPeer(), 1),
    ],
    ids=["refused", "timeout", "503", "garbled", "Retry-After", "redirect", "wrong answer", "scope", "TLS"],
)
def test_what_may_pass_is_tried_once_more(first: Reply | VendError, attempts: int) -> None:
    """REL-01 to REL-16: a second attempt after a second, unless upstream named a wait or would say the same again."""
    bench = Bench()
    upstream = FakeEntra(first, first, TOKEN)
    with pytest.raises(VendError):
        asyncio.run(entra(bench, upstream).acquire(KEY, None))
    assert (len(upstream.urls), bench.pauses) == (attempts, [1.0] * (attempts - 1))
    mended = FakeEntra(first, TOKEN)
    if attempts == 2:
        assert asyncio.run(entra(Bench(), mended).acquire(KEY, None)).secret == "opaque"


def test_a_regional_endpoint_is_asked_first() -> None:
    """The region's host is asked with an assertion for the global one, which is asked where the region fails."""
    bench = Bench()
    upstream = FakeEntra(TOKEN, Reply(503, b""), TOKEN)
    source = entra(bench, upstream, region="westeurope")
    for _ in range(2):
        asyncio.run(source.acquire(KEY, None))
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
        assert asyncio.run(source.acquire(KEY, None)).secret == "opaque"
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
    asyncio.run(entra(Bench(), upstream, capabilities=capabilities).acquire(KEY, challenge))
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
        assert asyncio.run(source.acquire(KEY, None)).secret
    assert [event["event"] for event in bench.told()] == events
