"""What no table of requests can list: laws of the readers. The table is tests/data/abuse.toml."""

import base64
import contextlib
import json
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.api.routes import MANAGED_IDENTITY, ROUTES, Route
from shared.core.entra.claims import ALLOWED, read_claims
from shared.core.errors import InvalidRequest, UnknownCaller, VendError
from shared.core.form import CREDENTIAL_LIMIT, FIELDS, read_form
from shared.core.names import is_default_scope, is_guid
from shared.core.proofs import Credentials
from shared.core.request import BASIC_LIMIT, Incoming, client_credentials
from tests.wire import FORM_MEDIA, SCOPE, basic

KEY = "0123456789abcdef"
GUID = "7F3E9C52-1d6b-4a8f-9b0e-2c5d8a417e60"
GOOD = {
    "grant_type": "client_credentials",
    "scope": SCOPE,
    "resource": "https://graph.microsoft.com/",
    "api-version": "2019-08-01",
    "tenant": GUID,
    "client_id": GUID,
    "token_sha256_to_refresh": "0" * 64,
    "claims": '{"access_token":{"acrs":{"essential":true,"values":["c1"]}}}',
}
TEXTS = st.text()
# A good text with something in it that is not good; or nothing like it.
DAMAGED = st.builds(
    lambda text, at, more: f"{text[:at]}{more}{text[at:]}",
    st.sampled_from(sorted(GOOD.values())),
    st.integers(0, 60),
    st.sampled_from(
        ["", "%", "&", "=", "+", ";", ",", "\0", "\n", "\ufeff", "\u017f", "\u212a", '"', "\\", "//", "[" * 99]
    )
    | TEXTS,
)
NAMES = st.sampled_from([*GOOD, "client_secret", "code", "Scope", "scope[]", "", "\0"]) | TEXTS


def asked(names: Mapping[str, str]) -> st.SearchStrategy[bytes]:
    """Make forms in which these fields are good, but for what was damaged, left out and added."""
    return st.builds(
        lambda kept, changed, more: urlencode({**kept, **changed}).encode() + more,
        st.just(names),
        st.dictionaries(NAMES, st.sampled_from(sorted(GOOD.values())) | DAMAGED, max_size=2),
        st.sampled_from([b"", b"&", b"&&", b"&=", b"&x", b"&%", b"&%ff=", b"&scope="]) | st.binary(max_size=4),
    )


FORMS = (
    st.binary()
    | asked({name: GOOD[name] for name in ("grant_type", "scope", "tenant", "claims", "token_sha256_to_refresh")})
    | asked({name: GOOD[name] for name in ("api-version", "resource", "client_id", "token_sha256_to_refresh")})
)


@given(form=FORMS)
@example(form=b"%")
@example(form=b"=" * 20_000)
def test_no_form_breaks_the_parser(form: bytes) -> None:
    """TST-16: any bytes are a form or an error of vend's own; no field of it is without name or value."""
    with contextlib.suppress(VendError):
        assert all(name and value for name, value in read_form(form).items())


@given(fields=st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=FIELDS))
def test_what_a_stock_encoder_writes_is_read_back(fields: dict[str, str]) -> None:
    """Names and values of any text come back as they were, with spaces as plus signs or as escapes."""
    wanted = {name: value for name, value in fields.items() if value}
    assert read_form(urlencode(fields).encode()) == wanted
    assert read_form(urlencode(fields, quote_via=quote).encode()) == wanted


@given(
    route=st.sampled_from(ROUTES),
    form=FORMS,
    other=FORMS,
    headers=st.dictionaries(
        st.sampled_from(["authorization", "x-functions-key", "x-identity-header", "content-type", "content-encoding"]),
        st.sampled_from([KEY, FORM_MEDIA, basic("billing", KEY), "Basic " + "A" * 4_001]) | TEXTS,
    ),
)
@example(route=MANAGED_IDENTITY, form=b"\xff\xed\xa0\x80", other=b"", headers={})
def test_no_request_breaks_a_reader(route: Route, form: bytes, other: bytes, headers: dict[str, str]) -> None:
    """TST-16: whatever is sent by any route, an error of vend's own, or what may stand in a URL and a log."""
    query, body = (form, other) if route is MANAGED_IDENTITY else (other, form)
    url = f"https://vend.test/api/{route.name}?" + query.decode(errors="surrogateescape")
    incoming = Incoming(route.method, url, {"content-type": FORM_MEDIA, **headers}, body)
    for step in (route.check, route.credentials):
        with contextlib.suppress(VendError):
            step(incoming)
    with contextlib.suppress(VendError):
        request = route.read(incoming)
        assert is_default_scope(request.scopes[0])
        for guid in (request.tenant_id, request.client_id):
            assert guid is None or (is_guid(guid) and guid == guid.lower())
        assert request.rejected in {None, "0" * 64}
        assert request.claims is None or request.claims.isprintable()


@given(
    name=TEXTS.filter(lambda name: 0 < len(quote_plus(name)) <= CREDENTIAL_LIMIT),
    key=st.text(
        st.characters(codec="ascii", exclude_characters=",", min_codepoint=33, max_codepoint=126), min_size=16
    ).filter(lambda key: len(quote_plus(key)) <= CREDENTIAL_LIMIT),
)
def test_what_an_oauth_client_writes_is_read_back(name: str, key: str) -> None:
    """RFC 6749 section 2.3.1: name and key come back from HTTP Basic and from the form."""
    form = urlencode({"client_id": name, "client_secret": key}).encode()
    assert client_credentials({"authorization": basic(name, key)}, b"") == Credentials(key, name)
    assert client_credentials({}, form) == Credentials(key, name)


def test_the_longest_name_and_key_fit_into_http_basic() -> None:
    """FND-B4: a longer header is not looked at."""
    name, key = "n" * CREDENTIAL_LIMIT, "k" * CREDENTIAL_LIMIT
    assert len(basic(name, key)) == BASIC_LIMIT
    assert client_credentials({"authorization": basic(name, key)}, b"") == Credentials(key, name)
    with pytest.raises(UnknownCaller):
        client_credentials({"authorization": basic(name, key).replace(" ", "  ")}, b"")


WORDS = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=9)
DEMANDS = st.dictionaries(
    st.sampled_from(sorted(ALLOWED)),
    st.none()
    | st.fixed_dictionaries({}, optional={"essential": st.booleans(), "value": WORDS, "values": st.lists(WORDS)}),
    min_size=1,
)


@given(demands=DEMANDS, seed=st.integers())
def test_claims_have_one_text_for_one_meaning(demands: dict[str, Any], seed: int) -> None:
    """However a challenge is spelled, in whatever order, with escapes, in base64: equal demands can share a flight."""
    draw = random.Random(seed)  # noqa: S311  # a test's own
    claims = {"access_token": demands}
    canonical = read_claims(json.dumps(claims))
    assert json.loads(canonical) == claims
    for text in (canonical, spelled(claims, draw)):
        assert read_claims(text) == canonical
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(text.encode()).decode()
            assert read_claims(encoded) == read_claims(encoded.rstrip("=")) == canonical


def test_claims_of_any_depth_are_refused() -> None:
    """ABU-79: how deep the interpreter's own parser goes differs; beyond that it is our error like before."""
    for opened in ("[", '{"access_token":'):
        with pytest.raises(InvalidRequest):
            read_claims(opened * 200_000)


@given(first=DEMANDS, second=DEMANDS)
def test_claims_of_two_meanings_have_two_texts(first: dict[str, Any], second: dict[str, Any]) -> None:
    """SEC-03: what is not equal never shares a flight."""
    texts = [read_claims(json.dumps({"access_token": demands})) for demands in (first, second)]
    assert (texts[0] == texts[1]) is (first == second)


def spelled(value: object, draw: random.Random) -> str:
    """Write JSON in a way that no encoder would."""
    pad = " " * draw.randrange(2) + "\n" * draw.randrange(2)
    match value:
        case dict():
            members = [f"{spelled(name, draw)}{pad}:{pad}{spelled(item, draw)}" for name, item in value.items()]
            draw.shuffle(members)
            return "{" + f"{pad},".join(members) + pad + "}"
        case list():
            return "[" + f",{pad}".join(spelled(item, draw) for item in value) + "]"
        case str():
            return (
                '"'
                + "".join(f"\\u{ord(sign):04X}" if draw.random() < 0.5 or sign in '"\\' else sign for sign in value)
                + '"'
            )
        case _:
            return json.dumps(value)
