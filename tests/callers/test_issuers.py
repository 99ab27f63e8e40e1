"""The keys of an issuer through its life: it is away, it hangs, it has new keys, it lies."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID, VEND, VEND_ID
from shared.api.routes import ENTRA, FUNCTION_KEY
from shared.callers.issuer_keys import FIRST_PAUSE_SECONDS, MAX_AGE_SECONDS, PAUSE_SECONDS, REFRESH_SECONDS
from shared.callers.published_keys import published_keys
from shared.core.documents.issuers import IssuerSettings
from shared.core.errors import VendError
from shared.core.reply import Reply
from shared.core.verification_keys import KEYS, KeySet, TokenAlgorithm, read_key, read_key_set
from tests.api.shop import Shop, good
from tests.callers.test_identity_tokens import BILLING, decoded, encoded, shown
from tests.clock import FakeClock, run_virtual
from tests.in_process import GRAPH_SCOPE, App, suffering
from tests.signer import AUDIENCE, URL, claims_of, public_jwk, signed

HOUR = 3_600.0
AWAY = Fault(kind=Kind.REFUSE)


def worker(cloud: LocalCloud, clock: FakeClock, folder: Path) -> App:
    """Make a worker that trusts the issuer of the cloud, with one caller that has no key."""
    folder.mkdir(exist_ok=True)
    discovery = f"{cloud.issuer_url}/.well-known/openid-configuration"
    trusted = f'{{ issuer = "{cloud.issuer_url}", audience = "{AUDIENCE}", jwks = "{discovery}" }}'
    app = App(cloud, clock, folder, settings=f"app_checked_routes = true\nissuers.outside = {trusted}")
    (folder / "callers.toml").write_text(
        '[callers.billing]\nidentity = [{ issuer = "outside", subject = "billing" }]\n'
        f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}"] }}]\n'
    )
    return app


def test_the_token_of_a_managed_identity_proves_a_caller(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Entra dates it five minutes back and lets it live a day from now: 86,700 s in all."""
    entra = f"{timeless.authority}/{TENANT_ID}/v2.0"
    trusted = f'{{ issuer = "{entra}", audience = "{VEND_ID}", jwks = "{entra}/.well-known/openid-configuration" }}'
    identity = f'{{ issuer = "entra", object_id = "{IDENTITY_PRINCIPAL_ID}", tenant_id = "{TENANT_ID}" }}'
    answer = httpx.get(
        timeless.identity_endpoint,
        params={"api-version": "2019-08-01", "resource": VEND, "client_id": IDENTITY_CLIENT_ID},
        headers={"x-identity-header": timeless.identity_header},
    )
    token = answer.json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 86_700

    async def story() -> None:
        app = App(timeless, fake_clock, tmp_path, settings=f"app_checked_routes = true\nissuers.entra = {trusted}")
        allow = f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}"] }}]'
        (tmp_path / "callers.toml").write_text(f"[callers.billing]\nidentity = [{identity}]\n{allow}\n")
        async with app:
            assert await status_of(app, token) == 200

    asyncio.run(story())


async def status_of(app: App, token: str) -> int:
    """Ask by a token alone, on two of its routes, which say the same."""
    answers = [await app.send(route.name, shown(route, token, tenant=TENANT_ID)) for route in (FUNCTION_KEY, ENTRA)]
    assert len({answer.status for answer in answers}) == 1
    assert ("Retry-After" in answers[0].headers) is (answers[0].status == 503)
    return answers[0].status


def test_an_issuer_that_is_away_for_a_day_is_not_noticed(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Known keys serve for two days; a worker that starts meanwhile says 503, and never that the caller is nobody."""
    issuer = timeless.issuer

    async def story() -> None:
        async with (
            worker(timeless, fake_clock, tmp_path / "one") as one,
            worker(timeless, fake_clock, tmp_path / "new") as new,
        ):
            asked = len(issuer.requests)
            for _ in range(10):
                assert await status_of(one, issuer.token("billing", audience=AUDIENCE)) == 200
            assert len(issuer.requests) == asked + 2
            with suffering(timeless.faults["issuer"], AWAY):
                for _ in range(24):
                    fake_clock.tick(HOUR)
                    assert await status_of(one, issuer.token("billing", audience=AUDIENCE)) == 200
                assert await status_of(new, issuer.token("billing", audience=AUDIENCE)) == 503
                fake_clock.tick(FIRST_PAUSE_SECONDS - 1)
                assert await status_of(new, issuer.token("billing", audience=AUDIENCE)) == 503
                assert [event["outcome"] for event in new.everything("issuer_unread")] == ["none"]
                assert {event["outcome"] for event in one.everything("issuer_unread")} == {"last good one kept"}
            fake_clock.tick(1)
            assert await status_of(new, issuer.token("billing", audience=AUDIENCE)) == 200
            with suffering(timeless.faults["issuer"], AWAY):
                fake_clock.tick(MAX_AGE_SECONDS)
                assert await status_of(new, issuer.token("billing", audience=AUDIENCE)) == 200
                fake_clock.tick(1)
                assert await status_of(new, issuer.token("billing", audience=AUDIENCE)) == 503

    asyncio.run(story())


def test_a_new_key_is_in_force_within_a_minute_and_an_old_one_for_an_hour(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """However many tokens name keys that are not there, the issuer is asked once a minute."""
    issuer = timeless.issuer
    issuer.retire()  # what another test has left

    async def story() -> None:
        async with worker(timeless, fake_clock, tmp_path / "one") as app:
            old = issuer.token("billing", audience=AUDIENCE, lifetime=6 * HOUR)
            assert await status_of(app, old) == 200
            issuer.rotate()
            asked = len(issuer.requests)
            for _ in range(100):
                assert await status_of(app, issuer.token("billing", audience=AUDIENCE)) == 401
            assert len(issuer.requests) == asked
            fake_clock.tick(PAUSE_SECONDS)
            assert await status_of(app, issuer.token("billing", audience=AUDIENCE)) == 200
            assert [event["count"] for event in app.everything("issuer_keys_changed")] == [2]
            assert await status_of(app, old) == 200
            issuer.retire()
            assert await status_of(app, old) == 200
            fake_clock.tick(HOUR)
            assert await status_of(app, old) == 401
            assert await status_of(app, issuer.token("billing", audience=AUDIENCE)) == 200

    asyncio.run(story())


def test_an_issuer_that_is_away_knows_of_keys_that_nobody_else_does(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """Whether a token by an unknown key is good, nobody can say: 503, and not that the caller is nobody."""
    issuer = timeless.issuer

    async def story() -> None:
        async with worker(timeless, fake_clock, tmp_path / "one") as app:
            known = issuer.token("billing", audience=AUDIENCE, lifetime=6 * HOUR)
            assert await status_of(app, known) == 200
            issuer.rotate()
            fake_clock.tick(PAUSE_SECONDS)
            with suffering(timeless.faults["issuer"], AWAY):
                assert await status_of(app, issuer.token("billing", audience=AUDIENCE)) == 503
                assert await status_of(app, known) == 200

    asyncio.run(story())


def test_a_token_of_nobody_asks_no_issuer(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """Only what may prove a caller is worth a request."""

    async def story() -> None:
        async with worker(timeless, fake_clock, tmp_path / "one") as app:
            asked = len(timeless.issuer.requests)
            for subject, audience in (("nobody", AUDIENCE), ("billing", "another")):
                assert await status_of(app, timeless.issuer.token(subject, audience=audience)) == 401
            assert len(timeless.issuer.requests) == asked

    asyncio.run(story())


@pytest.mark.parametrize("is_known", [True, False], ids=["with keys", "without"])
def test_an_issuer_that_hangs_delays_one_answer_a_minute(*, is_known: bool) -> None:
    """With keys in force a token waits two seconds at the most, and then the next one not at all; without, eight."""
    hangs = not is_known

    async def fetch(issuer: IssuerSettings) -> KeySet:
        if hangs:
            await asyncio.sleep(10**9)
        return issuer.key_set

    shop = Shop(Shop.token, fetch=fetch, document=BILLING)

    async def waited() -> tuple[int, float]:
        began = shop.clock().boot
        token = signed(claims_of("billing", shop.clock().wall))
        answer = await shop.vendor.answer(ENTRA, shown(ENTRA, token))
        return answer.status, shop.clock().boot - began

    async def story() -> None:
        nonlocal hangs
        if is_known:
            assert await waited() == (200, 0)
            hangs = True
            await asyncio.sleep(HOUR)
            assert [await waited() for _ in range(3)] == [(200, 2), (200, 0), (200, 0)]
            await asyncio.sleep(PAUSE_SECONDS)
            assert [await waited() for _ in range(2)] == [(200, 2), (200, 0)]
            return
        assert [await waited() for _ in range(3)] == [(503, 8), (503, 0), (503, 0)]
        await asyncio.sleep(FIRST_PAUSE_SECONDS)
        assert (await waited())[0] == 503

    run_virtual(story, shop.clock)


def test_keys_are_asked_for_again_before_a_token_must_wait() -> None:
    """While fresh they are not, and an hour's rest costs the next token one answer of the issuer."""
    began: list[float] = []

    async def fetch(issuer: IssuerSettings) -> KeySet:
        began.append(shop.clock().boot)
        await asyncio.sleep(1)
        return issuer.key_set

    shop = Shop(Shop.token, fetch=fetch, document=BILLING)

    async def story() -> None:
        start = shop.clock().boot
        for pause, waited in ((0, 1), (REFRESH_SECONDS - 2, 0), (1, 0), (1, 0), (60, 0)):
            await asyncio.sleep(pause)
            asked = shop.clock().boot
            token = signed(claims_of("billing", shop.clock().wall))
            assert (await shop.vendor.answer(ENTRA, shown(ENTRA, token))).status == 200
            assert shop.clock().boot - asked == waited
        assert [moment - start for moment in began] == [0, REFRESH_SECONDS]

    run_virtual(story, shop.clock)


def test_a_crowd_asks_an_issuer_once() -> None:
    """However many tokens come at the same time, and none of them waits for long when it hangs."""
    asked = 0

    async def fetch(issuer: IssuerSettings) -> KeySet:
        nonlocal asked
        asked += 1
        await asyncio.sleep(1)
        return issuer.key_set

    shop = Shop(Shop.token, fetch=fetch, document=BILLING)

    async def story() -> None:
        tokens = [signed(claims_of("billing", shop.clock().wall, jti=str(turn))) for turn in range(50)]
        answers = await asyncio.gather(*(shop.vendor.answer(ENTRA, shown(ENTRA, token)) for token in tokens))
        assert {answer.status for answer in answers} == {200}
        assert asked == 1

    run_virtual(story, shop.clock)


JWKS = {"keys": [public_jwk("ec"), public_jwk("rsa")]}
METADATA = {"issuer": URL, "jwks_uri": "https://cluster.example/keys"}
KEYS_URL, DISCOVERY = "https://cluster.example/keys", f"{URL}/.well-known/openid-configuration"


class Served:
    """An issuer by its answers."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def __call__(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        """Answer."""
        assert headers == {}
        self.asked.append(url)
        found = self._answers[url]
        status, body = found if isinstance(found, tuple) else (200, found)
        return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_the_keys_of_an_issuer_are_found_by_its_metadata() -> None:
    """Those that are for something else are passed over."""
    others = [
        {"kty": "oct", "k": "c2VjcmV0"},
        public_jwk("rsa", use="enc"),
        {"kty": "RSA"},
        7,
        public_jwk("ec", alg="x"),
    ]
    served = Served({DISCOVERY: METADATA, KEYS_URL: {"keys": [*others, *JWKS["keys"]]}})
    found = asyncio.run(published_keys(IssuerSettings(name="a", issuer=URL, audience="x", jwks=DISCOVERY), served))
    assert [key.id for key in found.keys] == ["ec", "rsa"]
    assert served.asked == [DISCOVERY, KEYS_URL]


@pytest.mark.parametrize(
    ("metadata", "keys", "cause"),
    [
        ((404, b""), JWKS, "answered 404"),
        (b"<html>", JWKS, "the metadata is not a JSON object"),
        ({**METADATA, "issuer": f"{URL}/"}, JWKS, "the metadata is that of another issuer"),
        ({**METADATA, "jwks_uri": "https://cluster.example.evil/keys"}, JWKS, "jwks_uri is at another origin"),
        ({**METADATA, "jwks_uri": "http://cluster.example/keys"}, JWKS, "jwks_uri is at another origin"),
        ({**METADATA, "jwks_uri": "https://cluster.example:8443/keys"}, JWKS, "jwks_uri is at another origin"),
        ({**METADATA, "jwks_uri": "https://cluster.example/keys?to=evil"}, JWKS, "jwks_uri is at another origin"),
        ({**METADATA, "jwks_uri": None}, JWKS, "jwks_uri is at another origin"),
        (METADATA, (301, b""), "answered 301"),
        (METADATA, b"[]", "the answer is no set of keys"),
        (METADATA, {"keys": {}}, "the answer is no set of keys"),
        (METADATA, {"keys": []}, "no key that can verify a token"),
        (METADATA, {"keys": [public_jwk("ec")] * (KEYS + 1)}, f"more than {KEYS} keys"),
    ],
)
def test_an_answer_that_cannot_be_trusted_changes_nothing(metadata: object, keys: object, cause: str) -> None:
    """It is an error with a cause, and nothing else is asked."""
    issuer = IssuerSettings(name="a", issuer=URL, audience="x", jwks=DISCOVERY)
    with pytest.raises(VendError) as caught:
        asyncio.run(published_keys(issuer, Served({DISCOVERY: metadata, KEYS_URL: keys})))
    assert caught.value.cause == f"issuer a: {cause}"


@pytest.mark.parametrize(("bits", "is_read"), [(2047, False), (2048, True), (4096, True), (4097, False)])
def test_a_key_of_rsa_has_a_size(bits: int, *, is_read: bool) -> None:
    """A smaller one is weak, and a larger one would cost a stranger's request too much."""
    modulus = (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8)
    body = json.dumps({"keys": [{"kty": "RSA", "n": encoded(modulus), "e": "AQAB"}] * KEYS}).encode()
    if is_read:
        assert len(read_key_set(body, of="a").keys) == KEYS
        return
    with pytest.raises(VendError):
        read_key_set(body, of="a")


@pytest.mark.parametrize(("exponent", "is_read"), [(65_537, True), (2**32 - 1, True), (2**32 + 1, False)])
def test_a_key_of_rsa_has_a_small_exponent(exponent: int, *, is_read: bool) -> None:
    """SEC-30: with one as long as the modulus a stranger's request with a forged token would cost 35 ms."""
    key = {"kty": "RSA", "n": encoded((1 << 3071 | 1).to_bytes(384)), "e": encoded(exponent.to_bytes(5).lstrip(b"\0"))}
    if is_read:
        assert read_key(key).fits(TokenAlgorithm.RS256)
        return
    with pytest.raises(ValueError, match="is no RSA key"):
        read_key(key)


def test_a_key_on_the_curve_has_two_whole_coordinates() -> None:
    """RFC 7518 section 6.2.1.2: with their zeros in front."""
    key = public_jwk("ec")
    for name in ("x", "y"):
        with pytest.raises(ValueError, match="is no RSA key"):
            read_key({**key, name: encoded(b"\0" + decoded(key[name]))})


def test_a_bad_answer_leaves_the_keys_in_force() -> None:
    """A defect of ours is no reason to refuse known keys, either."""
    answers: list[BaseException | None] = [None, KeyError("canary"), VendError(cause="lies"), None]

    async def fetch(issuer: IssuerSettings) -> KeySet:
        if failure := answers.pop(0):
            raise failure
        return issuer.key_set

    shop = Shop(Shop.token, fetch=fetch, document=BILLING)

    async def story() -> None:
        for _ in range(4):
            token = signed(claims_of("billing", shop.clock().wall))
            assert (await shop.vendor.answer(ENTRA, shown(ENTRA, token))).status == 200
            await asyncio.sleep(HOUR)
        assert answers == []

    run_virtual(story, shop.clock)
    events = [json.loads(line) for line in shop.lines if "issuer_unread" in line]
    assert [event["cause"] for event in events] == ["KeyError", "lies"]
    assert "canary" not in str(shop.lines)


def test_keys_of_one_id_and_algorithm_are_none() -> None:
    """Which of them is meant nobody can say, so that each token costs one signature and no more."""

    async def fetch(issuer: IssuerSettings) -> KeySet:
        return KeySet(issuer.key_set.keys[:1] * 2, digest="twice")

    shop = Shop(Shop.token, fetch=fetch, document=BILLING)
    assert shop.answer(ENTRA, good(ENTRA)).status == 401
