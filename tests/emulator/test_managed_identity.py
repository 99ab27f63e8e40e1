import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential

from emulator.cloud import LocalCloud
from emulator.seed import IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from tests.emulator.client import Clock

GOOD = {"api-version": "2019-08-01", "resource": KEY_VAULT, "client_id": IDENTITY_CLIENT_ID}


@pytest.fixture
def header(cloud: LocalCloud) -> str:
    """What the platform puts into IDENTITY_HEADER."""
    (identity,) = cloud.directory.identities()
    return identity.header


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
        ({"resource": "https://nobody.example"}, 400),
        ({"client_id": "00000000-0000-0000-0000-000000000002"}, 400),
        ({"client_id": ""}, 400),
        ({"object_id": IDENTITY_PRINCIPAL_ID}, 400),
    ],
    ids=str,
)
def test_a_wrong_question_is_never_answered_404(
    cloud: LocalCloud, header: str, changes: dict[str, str], status: int
) -> None:
    """401 without the header's secret, else 400, which no SDK repeats: for two selectors, and for none, too."""
    asked = {"header": header, **GOOD, **changes}
    query = {name: value for name, value in asked.items() if value and name != "header"}

    answer = httpx.get(cloud.identity_endpoint, params=query, headers={"X-IDENTITY-HEADER": asked["header"]})

    assert answer.status_code == status
    assert answer.json().keys() == {"statusCode", "message", "correlationId"}
