import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import jwt
import pytest
from jwt.algorithms import RSAAlgorithm

from emulator.cloud import LocalCloud
from emulator.entra.assertion import TYPE
from emulator.seed import GRAPH, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID, TOKEN_EXCHANGE
from tests.emulator.client import Clock, KeyPair, compact, key_pair, new_principal, signed_token
from tests.tables import case_id, cases

FOREIGN = "https://tokens.example"
KEY_ID = "of-the-issuer"
WORKFLOW = "repo:contoso/vend:ref:refs/heads/main"
DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change of a good exchange; tests/data/federated_assertions.toml describes the fields."""

    id: str
    issuer: str = "{authority}/{tenant}/v2.0"
    subject: str = "{identity}"
    audience: str = TOKEN_EXCHANGE
    spreads_in: float = 0
    none: bool = False
    token: Literal["identity", "china", "application", "foreign", "unpublished", "forged", "altered"] = "identity"
    alg: str = "RS256"
    kid: str = KEY_ID
    later: float = 0
    code: int | None = None
    status: int = 200


@pytest.fixture(scope="module")
def published(cloud: LocalCloud, clock: Clock) -> KeyPair:
    """The key of a foreign issuer, as Entra finds it."""
    pair = key_pair(starts=clock() - DAY, ends=clock() + DAY)
    key: dict[str, object] = json.loads(RSAAlgorithm.to_jwk(pair.key.public_key())) | {"kid": KEY_ID}
    cloud.directory.publish_keys(FOREIGN, {"keys": [key]})
    return pair


@pytest.fixture(scope="module")
def stranger(clock: Clock) -> KeyPair:
    """A key that nobody has published."""
    return key_pair(starts=clock() - DAY, ends=clock() + DAY)


@pytest.fixture
def client_id(cloud: LocalCloud, clock: Clock) -> Iterator[str]:
    """A new application without any credential; the clock returns to its time."""
    before = clock.moment
    yield str(new_principal(cloud).app_id)
    clock.moment, cloud.directory.propagation_seconds = before, 0


def identity_token(cloud: LocalCloud, resource: str = TOKEN_EXCHANGE) -> str:
    """Get a token of the seeded managed identity."""
    query = {"api-version": "2019-08-01", "resource": resource, "client_id": IDENTITY_CLIENT_ID}
    answer = httpx.get(cloud.identity_endpoint, params=query, headers={"X-IDENTITY-HEADER": cloud.identity_header})
    token: str = answer.json()["access_token"]
    return token


def foreign_token(issuer: str, key: KeyPair, now: float, *, alg: str = "RS256", kid: str = KEY_ID) -> str:
    """Sign a token as the identity provider of a workflow does."""
    claims: dict[str, Any] = {"iss": issuer, "sub": WORKFLOW, "aud": TOKEN_EXCHANGE, "jti": str(uuid.uuid4())}
    claims |= {"nbf": int(now), "exp": int(now) + 600}
    signed_as = "HS256" if alg == "HS256" else "RS256"
    return compact({"alg": alg, "typ": "JWT"} | ({"kid": kid} if kid else {}), claims, signed_as=signed_as, key=key)


def exchange(http: httpx.Client, cloud: LocalCloud, *, client_id: str, assertion: str) -> httpx.Response:
    """Ask for a Graph token with an assertion of another issuer."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": f"{GRAPH}/.default",
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
    }
    return http.post(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", data=form)


@pytest.mark.parametrize("case", cases("federated_assertions.toml", Case), ids=case_id)
def test_a_token_of_another_issuer_is_taken_or_refused_as_entra_does(
    case: Case,
    cloud: LocalCloud,
    clock: Clock,
    http: httpx.Client,
    published: KeyPair,
    stranger: KeyPair,
    client_id: str,
) -> None:
    """Each row of the table gets a token, or the number and status of Entra's refusal."""
    other = new_principal(cloud)
    words = {"authority": cloud.authority, "tenant": TENANT_ID, "application": other.object_id}
    words |= {"identity": IDENTITY_PRINCIPAL_ID, "IDENTITY": IDENTITY_PRINCIPAL_ID.upper()}
    if not case.none:
        cloud.directory.propagation_seconds = case.spreads_in
        cloud.directory.add_federated_credential(
            client_id,
            issuer=case.issuer.format(**words),
            subject=case.subject.format(**words),
            audience=case.audience,
        )
    tokens = {
        "identity": lambda: identity_token(cloud),
        "china": lambda: identity_token(cloud, "api://AzureADTokenExchangeChina"),
        "application": lambda: signed_token(cloud, other, resource=TOKEN_EXCHANGE),
        "foreign": lambda: foreign_token(FOREIGN, published, clock(), alg=case.alg, kid=case.kid),
        "unpublished": lambda: foreign_token("https://unpublished.example", published, clock()),
        "forged": lambda: foreign_token(FOREIGN, stranger, clock()),
        "altered": lambda: ".".join([*identity_token(cloud).split(".")[:2], identity_token(cloud).rpartition(".")[2]]),
    }
    token = tokens[case.token]()
    clock.moment += case.later

    answer = exchange(http, cloud, client_id=client_id, assertion=token)

    got = answer.json()
    assert (answer.status_code, got.get("error_codes")) == (case.status, [case.code] if case.code else None)
    assert got.get("error") == {200: None, 400: "invalid_request", 401: "invalid_client"}[case.status]


def test_the_record_and_the_token_tell_how_the_client_proved_itself(
    cloud: LocalCloud, http: httpx.Client, client_id: str
) -> None:
    """The recorder has issuer and subject of the assertion; the token counts it as a signed assertion."""
    issuer = f"{cloud.authority}/{TENANT_ID}/v2.0"
    cloud.directory.add_federated_credential(
        client_id, issuer=issuer, subject=IDENTITY_PRINCIPAL_ID, audience=TOKEN_EXCHANGE
    )

    answer = exchange(http, cloud, client_id=client_id, assertion=identity_token(cloud))

    proof = cloud.entra.requests[-1].proof
    assert proof
    assert (proof.issuer, proof.subject) == (issuer, IDENTITY_PRINCIPAL_ID)
    assert jwt.decode(answer.json()["access_token"], options={"verify_signature": False})["appidacr"] == "2"


def test_an_application_has_twenty_different_federated_credentials(cloud: LocalCloud, client_id: str) -> None:
    """One more, and one with the issuer and subject of another, are refused; a removed one makes room."""
    add = cloud.directory.add_federated_credential
    ids = [add(client_id, issuer=FOREIGN, subject=str(number), audience=TOKEN_EXCHANGE) for number in range(20)]

    with pytest.raises(ValueError, match="at most 20"):
        add(client_id, issuer=FOREIGN, subject="20", audience=TOKEN_EXCHANGE)
    cloud.directory.remove_federated_credential(client_id, ids[0])
    with pytest.raises(ValueError, match="exists already"):
        add(client_id, issuer=FOREIGN, subject="19", audience="another")
    add(client_id, issuer=FOREIGN, subject="20", audience=TOKEN_EXCHANGE)


def test_what_is_no_key_set_cannot_be_published(cloud: LocalCloud) -> None:
    """A mistake of the test is an error where it is made."""
    with pytest.raises(ValueError, match="no JWK set"):
        cloud.directory.publish_keys(FOREIGN, {"keys": []})


def test_a_server_can_take_each_assertion_once(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, client_id: str
) -> None:
    """OpenID Connect Core section 9: the second time it is 401 without a number, and another assertion is taken."""
    pair = key_pair(starts=clock() - DAY, ends=clock() + DAY)
    cloud.directory.register_certificate(client_id, pair.der)

    def assertion() -> str:
        header = {"alg": "PS256", "typ": "JWT", "x5t#S256": pair.thumbprint("sha256").rstrip("=")}
        claims = {"aud": f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", "iss": client_id, "sub": client_id}
        times = {"nbf": int(clock()), "exp": int(clock()) + 600, "jti": str(uuid.uuid4())}
        return compact(header, claims | times, signed_as="PS256", key=pair)

    first = assertion()
    cloud.entra.clients.single_use = True
    try:
        answers = [exchange(http, cloud, client_id=client_id, assertion=each) for each in (first, first, assertion())]
    finally:
        cloud.entra.clients.single_use = False

    assert [answer.status_code for answer in answers] == [200, 401, 200]
    assert answers[1].json() == {
        "error": "invalid_client",
        "error_description": "client assertion tokens must only be used once",
    }


def test_a_certificate_signs_assertions_once_it_has_spread(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, client_id: str
) -> None:
    """Until Entra's front ends know a new certificate it is 700027, by the clock."""
    pair = key_pair(starts=clock() - DAY, ends=clock() + DAY)
    cloud.directory.propagation_seconds = 300
    cloud.directory.register_certificate(client_id, pair.der)
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": pair.thumbprint("sha256").rstrip("=")}
    claims = {"aud": f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", "iss": client_id, "sub": client_id}
    signed = compact(header, claims | {"exp": int(clock()) + 600}, signed_as="PS256", key=pair)

    early = exchange(http, cloud, client_id=client_id, assertion=signed)
    clock.moment += 300
    later = exchange(http, cloud, client_id=client_id, assertion=signed)

    assert (early.json()["error_codes"], later.status_code) == ([700027], 200)
