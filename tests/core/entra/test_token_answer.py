import json
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from hypothesis import example, given

from shared.core.entra.token_answer import read_token
from shared.core.errors import VendError
from shared.core.token import AccessToken, Moment
from tests.core.entra.answers import bodies
from tests.tables import case_id, cases

TENANT = "aaaaaaaa-1111-1111-1111-111111111111"
CLIENT = "cccccccc-1111-1111-1111-111111111111"
ASKED = Moment(wall=1_800_000_000, boot=1_000)
CLAIMS = {"ver": "1.0", "aud": "https://graph.microsoft.com", "tid": TENANT, "appid": CLIENT, "idtyp": "app"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An answer with status 200; tests/data/answers.toml describes the fields."""

    id: str
    members: str = "{}"
    claims: str = "{}"
    without: tuple[str, ...] = ()
    refused: str | None = None
    lifetime: int | None = None
    refresh_after: float | None = None
    uti: str | None = None
    retryable: bool = True


def token_of(claims: dict[str, Any]) -> str:
    """Make a JWT; nobody but its API looks at the signature."""
    return jwt.encode(claims, "0" * 32, algorithm="HS256")


def read(body: bytes) -> AccessToken:
    """Read an answer as the one to our question."""
    return read_token(body, asked=ASKED, fraction=0.6, tenant_id=TENANT, client_id=CLIENT)


@pytest.mark.parametrize("case", cases("answers.toml", Case, "token", beside=["refusal"]), ids=case_id)
def test_an_answer_is_a_token_or_refused(case: Case) -> None:
    """REL-13 to REL-15, SEC-14: a sensible life, the right tenant and client, or nothing is delivered."""
    claims = {**CLAIMS, **json.loads(case.claims)}
    secret = token_of({name: value for name, value in claims.items() if value is not None})
    answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": secret}
    answer |= json.loads(case.members)
    body = json.dumps({name: value for name, value in answer.items() if name not in case.without}).encode()
    if case.lifetime is None:
        with pytest.raises(VendError) as caught:
            read(body)
        assert (caught.value.status, caught.value.cause) == (502, case.refused)
        assert caught.value.retryable is case.retryable
        return
    token = read(body)
    assert (token.secret, token.asked, token.lifetime) == (answer["access_token"], ASKED, case.lifetime)
    assert token.refresh_after == pytest.approx(case.refresh_after or 0.4 * case.lifetime)
    assert token.facts.uti == case.uti


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
