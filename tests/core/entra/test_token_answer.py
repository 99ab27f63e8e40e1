import base64
import hashlib
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.entra.token_answer import read_token, refusal, signed_assertion, token_request, unsigned_assertion
from shared.core.errors import VendError
from shared.core.retry import retry_after
from shared.core.token import AccessToken, Moment
from tests.tables import Case, case_id, cases

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
CLIENT = "cccccccc-1111-1111-1111-111111111111"
ENDPOINT = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
ASKED = Moment(wall=1_800_000_000, boot=1_000)
CLAIMS = {"ver": "1.0", "aud": "https://graph.microsoft.com", "tid": TENANT, "appid": CLIENT, "idtyp": "app"}


def test_an_assertion_is_what_entra_asks_for() -> None:
    """SEC-15: PS256 with `x5t#S256`, for one audience, at most ten minutes long; PyJWT verifies it."""
    key = rsa.generate_private_key(65_537, 2_048)
    unsigned = unsigned_assertion(client_id=CLIENT, audience=ENDPOINT, thumbprint="t", jti="j", now=ASKED.wall + 0.9)
    # As Key Vault signs: from the digest, with a salt as long as it.
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = key.sign(hashlib.sha256(unsigned).digest(), pss, Prehashed(hashes.SHA256()))
    assertion = signed_assertion(unsigned, signature)

    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(assertion, key.public_key(), algorithms=["PS256"], audience=ENDPOINT, options=options)
    assert jwt.get_unverified_header(assertion) == {"alg": "PS256", "typ": "JWT", "x5t#S256": "t"}
    now = int(ASKED.wall)
    expected = {"iss": CLIENT, "sub": CLIENT, "jti": "j", "iat": now, "nbf": now, "exp": now + 600}
    assert claims == {"aud": ENDPOINT, **expected}


def test_the_form_asks_for_client_credentials_with_an_assertion() -> None:
    """RFC 7521 section 4.2: every value arrives as it was meant, whatever stands in it."""
    form = token_request(client_id=CLIENT, scope="api://a+b&c=d/.default", assertion="e.y-J_", claims=None)
    assert parse_qs(form.decode(), strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": [CLIENT],
        "scope": ["api://a+b&c=d/.default"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": ["e.y-J_"],
    }


def token_of(claims: dict[str, Any]) -> str:
    """Make a JWT; nobody but its API looks at the signature."""
    return jwt.encode(claims, "0" * 32, algorithm="HS256")


def read(body: bytes) -> AccessToken:
    """Read an answer as the one to our question."""
    return read_token(body, asked=ASKED, fraction=0.6, tenant_id=TENANT, client_id=CLIENT)


@pytest.mark.parametrize("case", cases("answers.toml", "token"), ids=case_id)
def test_an_answer_is_a_token_or_refused(case: Case) -> None:
    """REL-13 to REL-15, SEC-14: a sensible life, the right tenant and client, or nothing is delivered."""
    claims = {**CLAIMS, **json.loads(case.get("claims", "{}"))}
    secret = token_of({name: value for name, value in claims.items() if value is not None})
    answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": secret}
    answer |= json.loads(case.get("members", "{}"))
    body = json.dumps({name: value for name, value in answer.items() if name not in case.get("without", [])}).encode()
    if "refused" in case:
        with pytest.raises(VendError) as caught:
            read(body)
        assert (caught.value.status, caught.value.cause) == (502, case["refused"])
        return
    token = read(body)
    assert (token.secret, token.asked, token.lifetime) == (answer["access_token"], ASKED, case["lifetime"])
    assert token.refresh_after == pytest.approx(case.get("refresh_after", 0.4 * case["lifetime"]))
    assert token.said.uti == case.get("uti")


@pytest.mark.parametrize("case", cases("answers.toml", "refusal"), ids=case_id)
def test_a_refusal_has_one_meaning(case: Case) -> None:
    """REL-03 to REL-10, REL-16: what the caller is told, and the bare number that the operator is."""
    error = refusal(case["status"], case.get("headers", {}), case["body"].encode(), now=ASKED.wall)
    wait = error.wait.total_seconds() if error.wait else 0
    assert (type(error).__name__, error.cause) == (case["becomes"], case["cause"])
    assert [error.status, wait] == case["answer"]
    assert (error.code, error.trace_id) == (case.get("code"), case.get("trace_id"))
    assert vars(error.again(error.retry_after)) == vars(error)


@pytest.mark.parametrize("status", [302, 400, 401, 408, 429, 500])
@pytest.mark.parametrize("error", ["CANARY", "invalid_scope", "invalid_client", "temporarily_unavailable"])
def test_upstream_text_is_left_behind(status: int, error: str) -> None:
    """SEC-10: no word of Entra's is in anything that hangs on the error."""
    body = json.dumps({"error": error, "error_description": "AADSTS700016: CANARY", "trace_id": "CANARY"})
    found = refusal(status, {"retry-after": "CANARY", "location": "CANARY"}, body.encode(), now=ASKED.wall)
    assert "CANARY" not in f"{found!r} {found.args} {vars(found)} {found.__cause__!r} {found.__context__!r}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"CANARY',
        b'{"access_token": "CANARY"}',
        b'{"access_token": "CANARY", "token_type": "CANARY"}',
        b'{"access_token": "CANARY", "token_type": "Bearer", "expires_in": "CANARY"}',
        json.dumps({"access_token": token_of({"tid": "CANARY"}), "token_type": "Bearer", "expires_in": 1}).encode(),
    ],
)
def test_an_unusable_answer_is_left_behind(body: bytes) -> None:
    """SEC-10: the token of a refused answer hangs on no error, not even on one that Python chains to it."""
    with pytest.raises(VendError) as caught:
        read(body)
    found = caught.value
    assert "CANARY" not in f"{found!r} {found.args} {vars(found)}"
    assert (found.__cause__, found.__context__) == (None, None)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# Whatever an STS may put where a JWT has its header and claims.
jwts = st.builds(
    lambda header, claims: f"{_segment(header)}.{_segment(claims)}.e30",
    st.just({"alg": "none"}) | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), json_values),
    json_values | st.dictionaries(st.sampled_from([*CLAIMS, "azp", "exp", "sub", "jti"]), json_values),
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "access_token": st.text() | jwts,
        "token_type": st.just("Bearer") | json_values,
        "expires_in": st.just(3599) | json_values,
        "refresh_in": json_values,
        "error": json_values,
        "error_description": st.just("AADSTS7") | json_values,
    },
)
bodies = st.binary() | st.builds(lambda value: json.dumps(value).encode(), answers | json_values)


@given(body=bodies)
@example(body=b"[" * 100_000)
@example(body=b'{"access_token":"a","token_type":"Bearer","expires_in":1' + b"0" * 400 + b"}")
@example(body=b'{"access_token":"a","token_type":"Bearer","expires_in":1' + b"0" * 5_000 + b"}")
def test_no_answer_breaks_the_reader(body: bytes) -> None:
    """TST-16: any bytes are a token or an error of vend's own."""
    try:
        token = read(body)
    except VendError:
        return
    assert 1 <= token.lifetime <= 172_800
    assert 0 < token.refresh_after < token.lifetime


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


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 1),
        ("999999999999", 86_400),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("Fri, 22 Jan 2027 10:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float) -> None:
    """REL-05, RFC 9110 section 10.2.3: seconds or a date, from one second to one day."""
    assert retry_after(value, now=ASKED.wall) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, "", "abc", "-5", "1.5", "Fri, 99 Jan 2027 08:01:00 GMT"])
def test_a_retry_after_without_meaning_is_ignored(value: str | None) -> None:
    """REL-05: nonsense is as good as no header."""
    assert retry_after(value, now=ASKED.wall) is None
