import hashlib
import json
from collections.abc import Iterator

import httpx
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential

from emulator.cloud import LocalCloud
from emulator.directory.objects import ManagedIdentity
from emulator.seed import IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID, TOKEN_EXCHANGE, TOKEN_EXCHANGE_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from tests.emulator.client import Clock

GOOD = {"api-version": "2019-08-01", "resource": KEY_VAULT, "client_id": IDENTITY_CLIENT_ID}


@pytest.fixture
def header(cloud: LocalCloud) -> str:
    """What the platform puts into IDENTITY_HEADER."""
    return cloud.identity_header


@pytest.mark.parametrize("known", [True, False], ids=["assigned", "not assigned"])
def test_azure_identity_gets_a_token_of_the_identity_it_names(
    cloud: LocalCloud, header: str, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """ManagedIdentityCredential, set up by the two variables, gets what the vault takes; a strange identity nothing."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", header)
    client_id = IDENTITY_CLIENT_ID if known else "00000000-0000-0000-0000-000000000002"
    with ManagedIdentityCredential(client_id=client_id) as credential:
        if not known:
            with pytest.raises((CredentialUnavailableError, ClientAuthenticationError)):
                credential.get_token(f"{KEY_VAULT}/.default")
            return
        token = credential.get_token(f"{KEY_VAULT}/.default").token

    assert cloud.tokens.authenticate(token, audience=KEY_VAULT, tenant_id=TENANT_ID) == IDENTITY_PRINCIPAL_ID


def test_the_answer_is_that_of_app_service(cloud: LocalCloud, clock: Clock, header: str) -> None:
    """`expires_on` is a string of epoch seconds a day ahead; any of the three ways names the identity."""
    for selector in ("client_id", "principal_id", "object_id"):
        wanted = IDENTITY_CLIENT_ID if selector == "client_id" else IDENTITY_PRINCIPAL_ID
        query = {"api-version": "2019-08-01", "resource": KEY_VAULT, selector: wanted}

        answer = httpx.get(cloud.identity_endpoint, params=query, headers={"X-IDENTITY-HEADER": header}).json()

        del answer["access_token"]
        assert answer == {
            "expires_on": str(int(clock()) + 86400),
            "not_before": str(int(clock())),
            "resource": KEY_VAULT,
            "token_type": "Bearer",
            "client_id": IDENTITY_CLIENT_ID,
        }


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"header": ""}, 401),
        ({"header": "wrong"}, 401),
        ({"api-version": "2017-09-01"}, 400),
        ({"api-version": ""}, 400),
        ({"resource": ""}, 400),
        ({"resource": "https://nobody.example"}, 500),
        ({"client_id": "00000000-0000-0000-0000-000000000002"}, 400),
        ({"client_id": ""}, 400),
        ({"object_id": IDENTITY_PRINCIPAL_ID}, 400),
    ],
    ids=str,
)
def test_a_wrong_question_is_never_answered_404(
    cloud: LocalCloud, header: str, changes: dict[str, str], status: int
) -> None:
    """401 without the header's secret, 500 where Entra issues no token, else 400, which no SDK repeats."""
    asked = {"header": header, **GOOD, **changes}
    query = {name: value for name, value in asked.items() if value and name != "header"}

    answer = httpx.get(cloud.identity_endpoint, params=query, headers={"X-IDENTITY-HEADER": asked["header"]})

    assert answer.status_code == status
    assert answer.json().keys() == {"statusCode", "message", "correlationId"}


def ask(cloud: LocalCloud, header: str, **changes: str) -> httpx.Response:
    """Ask for a token of the identity; a good request unless changed."""
    return httpx.get(cloud.identity_endpoint, params={**GOOD, **changes}, headers={"X-IDENTITY-HEADER": header})


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        (
            {"client_id": "00000000-0000-0000-0000-000000000002"},
            400,
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        ),
        ({"resource": "https://nobody.example"}, 500, "An unexpected error occured while fetching the AAD Token."),
        ({"claims": "no JSON"}, 500, "An unexpected error occured while fetching the AAD Token."),
    ],
    ids=["unknown identity", "unknown resource", "claims"],
)
def test_a_refusal_has_the_words_of_app_service(
    cloud: LocalCloud, header: str, changes: dict[str, str], status: int, message: str
) -> None:
    """FND-F14: status and message are those that were recorded, and the body repeats the status."""
    body = ask(cloud, header, **changes).json()

    assert (body["statusCode"], body["message"]) == (status, message)


def test_a_disabled_identity_gets_no_token(cloud: LocalCloud, header: str) -> None:
    """Entra refuses its principal, of which App Service tells nothing."""
    cloud.directory.set_enabled(IDENTITY_PRINCIPAL_ID, enabled=False)
    try:
        answer = ask(cloud, header)
    finally:
        cloud.directory.set_enabled(IDENTITY_PRINCIPAL_ID, enabled=True)

    assert answer.status_code == 500


def test_a_token_for_the_exchange_is_what_entra_compares(cloud: LocalCloud, header: str) -> None:
    """Issuer of v2.0, the object ID of the identity as subject, and the app id of the exchange as audience."""
    token = ask(cloud, header, resource=TOKEN_EXCHANGE).json()["access_token"]

    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (
        f"{cloud.authority}/{TENANT_ID}/v2.0",
        IDENTITY_PRINCIPAL_ID,
        TOKEN_EXCHANGE_ID,
    )


def test_a_process_chooses_among_its_identities(cloud: LocalCloud, header: str) -> None:
    """Two user-assigned identities of one app share its header; the client ID names one of them."""
    second = ManagedIdentity("0e4b6c1d-8f3a-4d27-95b0-c6a1e7d2f839", "second", TENANT_ID, header)
    cloud.directory.add_identity(second)

    answers = [ask(cloud, header, client_id=each).json() for each in (IDENTITY_CLIENT_ID, second.client_id)]

    assert [answer["client_id"] for answer in answers] == [IDENTITY_CLIENT_ID, second.client_id]


@pytest.fixture
def caching(cloud: LocalCloud, clock: Clock) -> Iterator[None]:
    """An endpoint that gives a token out again."""
    before = clock.moment
    cloud.identity.caches = True
    yield
    cloud.identity.caches, clock.moment = False, before


@pytest.mark.usefixtures("caching")
@pytest.mark.parametrize(
    ("later", "changes", "same"),
    [
        (86399, {}, True),
        (86400, {}, False),
        (0, {"token_sha256_to_refresh": "the token's"}, False),
        (0, {"token_sha256_to_refresh": "0" * 64}, True),
        (0, {"claims": '{"access_token":{"nbf":{"value":"1"}}}'}, False),
        (0, {"xms_cc": "cp1"}, False),
    ],
    ids=["a day", "after a day", "digest of the token", "another digest", "claims", "capabilities"],
)
def test_app_service_gives_a_token_out_again_until_its_digest_comes(
    cloud: LocalCloud, clock: Clock, header: str, later: int, changes: dict[str, str], *, same: bool
) -> None:
    """A token of a day is kept by resource, claims and capabilities, and is replaced when a client names its digest."""
    resource = {"resource": "https://storage.azure.com"}
    first = ask(cloud, header, **resource).json()["access_token"]
    if changes.get("token_sha256_to_refresh") == "the token's":
        changes = {"token_sha256_to_refresh": hashlib.sha256(first.encode()).hexdigest()}
    clock.moment += later

    second = ask(cloud, header, **resource, **changes).json()["access_token"]

    assert (first == second) is same
    seen = cloud.identity.requests[-1]
    assert (seen.claims, seen.refused_digest) == (
        changes.get("claims", ""),
        changes.get("token_sha256_to_refresh", ""),
    )


def test_claims_and_capabilities_are_in_the_token(cloud: LocalCloud, clock: Clock, header: str) -> None:
    """A challenge that came with a refused token is answered, and the client's capabilities are named."""
    asked = json.dumps({"access_token": {"nbf": {"essential": True, "value": str(int(clock()) - 5)}}})

    token = ask(cloud, header, claims=asked, xms_cc="cp1").json()["access_token"]

    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["nbf"], claims["xms_cc"]) == (int(clock()) - 5, ["cp1"])
