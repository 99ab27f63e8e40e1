"""Identity tokens by every route that takes them: which prove a caller, and which prove nobody."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.api.answers import Answer
from shared.api.routes import ENTRA, FUNCTION_KEY, OAUTH, Route
from shared.callers.recognition import VERIFIED
from shared.core.documents.issuers import IssuerSettings
from shared.core.identity_token import HEADERS, TOKEN_LIMIT
from shared.core.request import ASSERTION_TYPE, Incoming
from shared.core.verification_keys import KeySet, TokenAlgorithm, VerificationKey
from tests.api.shop import ALLOW, ANYBODYS, EVERYBODY, FORM, KEY, MEDIA, OTHERS, TENANT, Shop, entry, good
from tests.api.test_remembered import held
from tests.clock import FakeClock
from tests.signer import ENTRA as ENTRA_URLS
from tests.signer import NARROW, claims_of, entra_claims, entra_identity, private_key, public_jwk, signed, token_of
from tests.tables import case_id, cases

NOW = FakeClock().wall()
DOORS = (FUNCTION_KEY, OAUTH, ENTRA)
BILLING = "\n".join(
    [
        "[callers.billing]",
        'identity = [{ issuer = "cluster", subject = "billing" }, { issuer = "narrow", subject = "billing" },',
        f"{', '.join(map(entra_identity, ENTRA_URLS))}]",
        ALLOW,
        "",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """A token that proves nobody; tests/data/forged_tokens.toml describes the fields."""

    id: str
    issuer: str = "cluster"
    claims: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    without_header: tuple[str, ...] = ()
    times: Mapping[str, int] = field(default_factory=dict)
    key: str = "ec"
    forge: str = ""
    old: str = ""
    new: str = ""
    size: int = 0
    is_of_others: bool = False


CASES = cases("forged_tokens.toml", Forged)


def encoded(raw: bytes) -> str:
    """Encode a part of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    """Decode a part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def by_hand(header: bytes, claims: bytes, *, key: str = "ec") -> str:
    """Sign parts that no library would write, as the algorithm of the key does."""
    content = f"{encoded(header)}.{encoded(claims)}".encode()
    algorithm = jwt.get_algorithm_by_name("RS256" if key.startswith("rsa") else "ES256")
    return f"{content.decode()}.{encoded(algorithm.sign(content, private_key(key)))}"


def hmac_of(token: str, secret: bytes, algorithm: str) -> str:
    """Sign a token with a public key, as if that were a secret."""
    head = encoded(json.dumps({"alg": algorithm, "kid": "ec"}).encode())
    content = f"{head}.{token.split('.')[1]}"
    digest = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
    return f"{content}.{encoded(hmac.new(secret, content.encode(), digest).digest())}"


PEM = private_key("ec").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
JWKS = json.dumps({"keys": [public_jwk("ec"), public_jwk("rsa")]}).encode()


def parts(token: str) -> tuple[bytes, bytes, bytes]:
    """Take a token apart."""
    header, claims, signature = map(decoded, token.split("."))
    return header, claims, signature


def der(token: str) -> str:
    """Write the signature as most libraries do outside of JOSE."""
    content, _, signature = token.rpartition(".")
    raw = decoded(signature)
    numbers = (int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    return f"{content}.{encoded(encode_dss_signature(*numbers))}"


def altered(case: Forged, token: str) -> str:
    """Change the text of the claims, and sign it."""
    header, claims, _ = parts(token)
    text = claims.decode()
    assert case.old in text
    return by_hand(header, f"[{text}]".encode() if case.new == "list" else text.replace(case.old, case.new, 1).encode())


FORGERIES: Mapping[str, Callable[[Forged, str], str]] = {
    "": lambda _, token: token,
    "none": lambda case, token: (
        f"{encoded(json.dumps({'alg': case.header.get('alg', 'none')}).encode())}.{token.split('.')[1]}."
    ),
    "header by hand": lambda case, token: by_hand(
        json.dumps({**json.loads(parts(token)[0]), **case.header}).encode(), parts(token)[1], key=case.key
    ),
    "hmac pem": lambda case, token: hmac_of(token, PEM, case.header.get("alg", "HS256")),
    "hmac jwks": lambda _, token: hmac_of(token, JWKS, "HS256"),
    "jwk": lambda case, token: by_hand(
        json.dumps({**json.loads(parts(token)[0]), "jwk": public_jwk(case.key)}).encode(), parts(token)[1], key=case.key
    ),
    "nested": lambda _, token: by_hand(b'{"alg":"ES256","kid":"ec","cty":"JWT"}', token.encode()),
    "jwe": lambda _, token: ".".join([encoded(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), *token.split("."), "AAAA"]),
    "claims by hand": altered,
    "header twice": lambda _, token: by_hand(b'{"alg":"none","alg":"ES256","kid":"ec"}', parts(token)[1]),
    "utf-16": lambda _, token: by_hand(parts(token)[0], parts(token)[1].decode().encode("utf-16")),
    "byte order mark": lambda _, token: by_hand(parts(token)[0], b"\xef\xbb\xbf" + parts(token)[1]),
    "two parts": lambda _, token: token.rpartition(".")[0],
    "four parts": lambda _, token: f"{token}.AAAA",
    "padded": lambda _, token: f"{token}==",
    "other alphabet": lambda _, token: by_hand(
        parts(token)[0], parts(token)[1][:-1] + b',"x":"' + b"~" * 9 + b'"}'
    ).replace("fn5-", "fn5+"),
    "no signature": lambda _, token: token.rpartition(".")[0] + ".",
    "cut": lambda _, token: f"{token.rpartition('.')[0]}.{encoded(parts(token)[2][:-1])}",
    "der": lambda _, token: der(token),
    "zeros": lambda _, token: f"{token.rpartition('.')[0]}.{encoded(bytes(64))}",
    "deep": lambda _, token: by_hand(
        parts(token)[0], parts(token)[1][:-1] + b',"x":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
    ),
    "long": lambda case, token: by_hand(parts(token)[0], parts(token)[1][:-1] + b',"x":"' + b"x" * case.size + b'"}'),
}


def forged(case: Forged, listener: str) -> str:
    """Make the token of a case; `listener` is the URL of somebody who listens."""
    host = listener.partition("://")[2]

    def filled(value: Any) -> Any:  # noqa: ANN401  # any claim
        return value.replace("{listener}", listener).replace("{host}", host) if isinstance(value, str) else value

    base = claims_of("billing", NOW, **({"iss": NARROW} if case.issuer == "narrow" else {}))
    if case.issuer.startswith("entra"):
        base = entra_claims("1.0" if case.issuer == "entra-v1" else "2.0", NOW)
    times = {name: int(NOW) + seconds for name, seconds in case.times.items()}
    claims = {**base, **{name: filled(value) for name, value in case.claims.items()}, **times}
    claims |= dict.fromkeys(case.without)
    if case.forge:
        token = signed(claims, key=case.key)
    else:
        header = {name: filled(value) for name, value in case.header.items()} | dict.fromkeys(case.without_header)
        token = by_hand(
            json.dumps(_without_none({**_header(case.key), **header})).encode(),
            json.dumps(_without_none(claims)).encode(),
            key=case.key,
        )
    return FORGERIES[case.forge](case, token)


def _header(key: str) -> dict[str, Any]:
    return {"alg": "RS256" if key.startswith("rsa") else "ES256", "kid": key, "typ": "JWT"}


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def shown(route: Route, token: str, *, key: str = ANYBODYS, name: str | None = None, tenant: str = TENANT) -> Incoming:
    """Make a request that a token alone proves; on the host's route beside a key that is nobody's."""
    url = f"https://vend.test/api/{route.name.replace('{tenant}', tenant)}"
    if route is FUNCTION_KEY:
        headers = {"content-type": MEDIA, "x-functions-key": key, "authorization": f"Bearer {token}"}
        return Incoming("POST", url, headers, FORM)
    fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
    fields |= {"client_id": name} if name is not None else {}
    return Incoming("POST", url, {"content-type": MEDIA}, FORM + b"&" + urlencode(fields).encode())


@contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """Listen on loopback, and answer nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", listener


@pytest.mark.parametrize("case", CASES, ids=case_id)
@pytest.mark.parametrize("route", DOORS, ids=[route.name for route in DOORS])
def test_a_forged_token_proves_nobody(route: Route, case: Forged) -> None:
    """Each is refused on every route, the key beside it opens nothing, and nothing that it names is asked."""
    with listening() as (url, listener):
        shop = Shop(Shop.token, document=BILLING)
        answer = shop.answer(route, shown(route, forged(case, url)))
        assert answer.status == (413 if case.size > 16_384 and route is not FUNCTION_KEY else 401)
        assert shop.keys == []
        with pytest.raises(BlockingIOError):
            listener.accept()
    (event,) = map(json.loads, shop.lines)
    assert (event.get("caller"), event.get("subject")) == (None, None)


def test_sixty_forged_tokens_are_in_the_table() -> None:
    """The table is as long as the promise."""
    assert len(CASES) >= 60
    assert {case.forge for case in CASES} == FORGERIES.keys()


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_forged_token_beside_the_key_of_everybody(case: Forged) -> None:
    """One that names a configured issuer must verify: else 401, whatever the key gives. Others are not looked at."""
    shop = Shop(Shop.token, document=BILLING + EVERYBODY)
    answer = shop.answer(FUNCTION_KEY, shown(FUNCTION_KEY, forged(case, "https://127.0.0.1:1")))
    assert answer.status == (200 if case.is_of_others else 401)


def as_long_as_it_may_be(*, now: float = NOW) -> str:
    """Make a token of exactly the longest size, which is good at a moment."""
    claims = claims_of("billing", now)
    # Not every length is that of a token: the parts are in base64, of which no length leaves a rest of one.
    made = (signed({**claims, "x": "x" * size}, key=key) for key in ("ec", "rsa") for size in range(5_500, 6_100))
    return next(token for token in made if len(token) == TOKEN_LIMIT)


GOOD: Mapping[str, Callable[[], str]] = {
    "as long as it may be": as_long_as_it_may_be,
    "valid since 1970": lambda: signed(claims_of("billing", NOW, nbf=0)),
    "Kubernetes, its audience in a list": lambda: token_of("billing"),
    "its audience alone": lambda: signed(claims_of("billing", NOW, aud="vend-of-contoso")),
    "no nbf, no typ": lambda: signed(claims_of("billing", NOW, nbf=None), header={"typ": None}),
    "one key for the algorithm, and no kid": lambda: signed(claims_of("billing", NOW), header={"kid": None}),
    "RS256": lambda: signed(claims_of("billing", NOW), key="rsa"),
    "PS256": lambda: signed(claims_of("billing", NOW), key="rsa", header={"alg": "PS256"}),
    "PS256, which alone its issuer uses": lambda: signed(
        claims_of("billing", NOW, iss=NARROW), key="rsa", header={"alg": "PS256"}
    ),
    "two days": lambda: signed(claims_of("billing", NOW, exp=int(NOW) + 172_800)),
    "a clock that is a minute ahead": lambda: signed(claims_of("billing", NOW + 60)),
    "Entra v1.0, 86,700 s": lambda: signed(entra_claims("1.0", NOW), key="rsa"),
    "Entra v2.0, 86,700 s": lambda: signed(entra_claims("2.0", NOW, idtyp="app"), key="rsa"),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("route", DOORS, ids=[route.name for route in DOORS])
def test_a_good_token_proves_its_caller(route: Route, name: str) -> None:
    """The event names the issuer and the subject; a second request gets the same."""
    shop = Shop(Shop.token, document=BILLING)
    token = GOOD[name]()
    assert [shop.answer(route, shown(route, token)).status for _ in range(2)] == [200, 200]
    for event in map(json.loads, shop.lines):
        assert (event["caller"], event["issuer"]) == ("billing", event["issuer"])
        assert event["issuer"] in {"cluster", "narrow", *ENTRA_URLS}
        assert event["subject"] in {"billing", "e2470b9f-5ac3-4186-8f3d-b19d64c7e05a"}


@pytest.mark.slow
@given(data=st.data())
def test_no_flipped_bit_is_overlooked(data: st.DataObject) -> None:
    """Whichever bit of a good token is flipped: it is another token, and none of its issuer's."""
    token = data.draw(st.sampled_from(sorted(GOOD)).map(lambda name: GOOD[name]()))
    at = data.draw(st.integers(0, len(token) - 1))
    flipped = token[:at] + chr(ord(token[at]) ^ (1 << data.draw(st.integers(0, 6)))) + token[at + 1 :]
    shop = Shop(Shop.token, document=BILLING)
    for route in DOORS:
        assert shop.answer(route, shown(route, token)).status == 200
        assert shop.answer(route, shown(route, flipped)).status in {400, 401}


def ask(document: str, incoming: Incoming, route: Route = FUNCTION_KEY) -> tuple[Answer, dict[str, Any]]:
    """Ask a new worker; return the answer and its event."""
    shop = Shop(Shop.token, document=document)
    answer = shop.answer(route, incoming)
    return answer, json.loads(shop.lines[-1])


def test_a_key_of_one_caller_beside_a_token_of_another_opens_nothing() -> None:
    """The line names whose token it was, however many strangers have used the budget up."""
    document = entry("billing", ALLOW, key=KEY) + entry("reports", ALLOW, key=OTHERS)
    answer, event = ask(document, shown(FUNCTION_KEY, token_of("reports"), key=KEY))
    assert answer.status == 401
    assert (event["issuer"], event["subject"]) == ("cluster", "reports")
    assert event["reason"] == "identity token of cluster: of reports, beside the key of another caller"
    answer, event = ask(document, shown(FUNCTION_KEY, token_of("billing"), key=KEY))
    assert (answer.status, event["caller"]) == (200, "billing")


def test_the_longest_token_is_looked_at_beside_a_key() -> None:
    """As any shorter one: it names a configured issuer and has ended, and so the key beside it opens nothing."""
    sent = shown(FUNCTION_KEY, as_long_as_it_may_be(now=NOW - 7_200), key=KEY)
    assert ask(entry("billing", ALLOW, key=KEY), sent)[0].status == 401


def test_a_key_of_a_refused_entry_is_the_key_of_another_caller() -> None:
    """REL-64: a mistake in an entry gives its key away to nobody, beside a token neither."""
    document = entry("billing", ALLOW, "colour = 1", key=KEY) + entry("reports", ALLOW, key=OTHERS)
    assert ask(document, shown(FUNCTION_KEY, token_of("reports"), key=KEY))[0].status == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer opaque",
        "Bearer a.b.c",
        "Basic YTpi",
        "Negotiate x",
        f"Bearer {signed({'iss': 'https://x.example'})}",
        "",
    ],
)
def test_an_authorization_of_others_is_not_looked_at(authorization: str) -> None:
    """FND-A5: the platform, a portal or a .netrc adds it; the key decides, as if it were not there."""
    sent = good(FUNCTION_KEY)
    headers = {**sent.headers, "authorization": authorization}
    answer, event = ask(entry("billing", ALLOW, key=KEY), Incoming("POST", sent.url, headers, sent.body))
    assert (answer.status, event["caller"], event.get("issuer")) == (200, "billing", None)


@pytest.mark.parametrize("route", [OAUTH, ENTRA], ids=["oauth2", "entra"])
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("billing", 200),
        (None, 200),
        ("22222222-2222-2222-2222-222222222222", 200),
        ("44444444-4444-4444-4444-444444444444", 400),
        ("reports", 401),
    ],
)
def test_a_client_is_the_caller_or_that_of_a_profile(route: Route, name: str | None, status: int) -> None:
    """`client_id` of a stock client is the name of the caller, or the client that the token is to be of."""
    assert ask(BILLING, shown(route, token_of("billing"), name=name), route)[0].status == status


def test_the_tenant_of_the_url_is_asked_for() -> None:
    """It must be one of the profile's, and a GUID; a field beside it may say the same and nothing else."""
    sent = shown(ENTRA, token_of("billing"))
    other = "33333333-3333-3333-3333-333333333333"
    for tenant, more, status, asked in (
        (other, b"", 200, other),
        (TENANT, b"&tenant=" + TENANT.encode(), 200, TENANT),
        (TENANT, b"&tenant=" + other.encode(), 400, None),
        ("44444444-4444-4444-4444-444444444444", b"", 400, None),
        ("common", b"", 400, None),
    ):
        shop = Shop(Shop.token, document=BILLING)
        url = sent.url.replace(TENANT, tenant) + "?client-request-id=x&x-client-SKU=y"
        assert shop.answer(ENTRA, Incoming("POST", url, sent.headers, sent.body + more)).status == status
        assert [key.tenant_id for key in shop.keys] == ([asked] if asked else [])


@pytest.mark.parametrize("kind", ["urn:ietf:params:oauth:client-assertion-type:saml2-bearer", ""])
def test_an_assertion_of_another_type_is_malformed(kind: str) -> None:
    """RFC 7523 section 2.2: what the assertion is, the request must say."""
    sent = shown(ENTRA, token_of("billing"))
    body = sent.body.replace(urlencode({"": ASSERTION_TYPE})[1:].encode(), kind.encode())
    assert ask(BILLING, Incoming("POST", sent.url, sent.headers, body), ENTRA)[0].status == 400


def test_a_revoked_caller_is_refused_though_its_token_is_remembered() -> None:
    """The caller is looked up at every request, by the document as it is then."""
    shop = Shop(Shop.token, document=BILLING)

    async def story() -> None:
        for status in (200, 200, 401):
            answers = [await shop.vendor.answer(route, shown(route, token_of("billing"))) for route in DOORS]
            assert [answer.status for answer in answers] == [status] * 3
            if status == 200 and shop.clock().boot > FakeClock().boot():
                shop.document = entry("reports", ALLOW, key=OTHERS)
            shop.clock.tick(30)

    asyncio.run(story())


def test_a_remembered_token_ends_when_it_ends() -> None:
    """It is as good as a new one, to the second, and no longer."""
    shop = Shop(Shop.token, document=BILLING)
    sent = shown(FUNCTION_KEY, signed(claims_of("billing", NOW)))
    for seconds, status in ((0, 200), (3_599, 200), (1, 401)):
        shop.clock.tick(seconds)
        assert shop.answer(FUNCTION_KEY, sent).status == status


def test_a_flood_of_forged_tokens_costs_lines_and_no_service() -> None:
    """200 a second with a known subject and a wrong signature: a good token not seen before is served between them."""
    shop = Shop(Shop.token, document=BILLING)
    forgery = signed(claims_of("billing", NOW), key="ec stranger", header={"kid": "ec"})

    async def flood() -> None:
        for turn in range(600):
            for route in DOORS:
                sent = shown(route, f"{forgery.rpartition('.')[0]}.{encoded(hashlib.sha512(b'%d' % turn).digest())}")
                assert (await shop.vendor.answer(route, sent)).status == 401
            if turn % 100 == 0:
                token = signed(claims_of("billing", shop.clock().wall, jti=str(turn)))
                answers = [await shop.vendor.answer(route, shown(route, token)) for route in DOORS]
                assert [answer.status for answer in answers] == [200] * 3
            shop.clock.tick(1 / 200)

    asyncio.run(flood())
    refused = [line for line in shop.lines if json.loads(line)["status"] == 401]
    assert 60 <= len(refused) <= 64


class Counted(KeySet):
    """Keys that count how often one of them is looked for: once for each signature that is checked."""

    looked: ClassVar[int] = 0

    def find(self, key_id: str | None, algorithm: TokenAlgorithm) -> VerificationKey | None:
        """Count."""
        type(self).looked += 1
        return super().find(key_id, algorithm)


def test_the_tokens_that_are_used_are_remembered() -> None:
    """One that is remembered needs no second signature; the one unused for longest gives way to a new one."""

    async def fetch(issuer: IssuerSettings) -> KeySet:
        return Counted(issuer.key_set.keys, digest="counted")

    shop = Shop(Shop.token, document=BILLING, fetch=fetch)
    tokens = [token_of("billing", jti=str(number)) for number in range(VERIFIED + 1)]

    async def signatures(*asked: str) -> int:
        before = Counted.looked
        for token in asked:
            assert (await shop.vendor.answer(ENTRA, shown(ENTRA, token))).status == 200
        return Counted.looked - before

    async def story() -> None:
        assert await signatures(*tokens[:VERIFIED]) == VERIFIED
        assert await signatures(tokens[0], tokens[VERIFIED]) == 1
        assert await signatures(tokens[0]) == 0
        assert await signatures(tokens[1]) == 1

    asyncio.run(story())


@pytest.mark.slow
def test_few_headers_are_remembered() -> None:
    """One that was refused is not; of good ones, which strangers send too, the one unused for longest gives way."""
    shop = Shop(Shop.token, document=BILLING)

    def header_of(**members: Any) -> str:  # noqa: ANN401  # any member
        token = signed(claims_of("nobody", NOW), header=members)
        assert shop.answer(ENTRA, shown(ENTRA, token)).status == 401
        return token.partition(".")[0]

    refused = header_of(jku="https://nobody.example")
    good_ones = [header_of(number=number) for number in range(HEADERS + 1)]
    assert [bool(held(header)) for header in (refused, good_ones[0], good_ones[1])] == [False, False, True]
