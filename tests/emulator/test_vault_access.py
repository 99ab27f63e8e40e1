from collections.abc import Callable, Iterator
from hashlib import sha256

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.keyvault.keys.crypto import SignatureAlgorithm

from emulator.vault.errors import Closure
from emulator.vault.policy import Policy
from emulator.vault.roles import ROLES
from tests.emulator.vault_clients import ADMIN, AUTHORITY, TENANT, VaultClients, VaultHost

DIGEST = sha256(b"who may do what").digest()


@pytest.fixture(scope="module")
def clients(host: VaultHost) -> Iterator[VaultClients]:
    """One vault with one certificate that no test here changes."""
    with host.vault() as clients:
        clients.vault.create_certificate("vend", Policy("CN=vend"))
        yield clients


@pytest.fixture
def own_clients(host: VaultHost) -> Iterator[VaultClients]:
    """A vault of the test's own."""
    with host.vault() as clients:
        yield clients


OPERATIONS: dict[str, Callable[[VaultClients, str], object]] = {
    "read certificate": lambda clients, who: clients.certificates(who).get_certificate("vend"),
    "update certificate": lambda clients, who: clients.certificates(who).update_certificate_properties("vend", tags={}),
    "read key": lambda clients, who: clients.keys(who).get_key("vend"),
    "sign": lambda clients, who: clients.cryptography("vend", principal=who).sign(SignatureAlgorithm.ps256, DIGEST),
    "read secret": lambda clients, who: clients.secrets(who).get_secret("vend"),
}

MAY: dict[str, set[str]] = {
    "vend signer": {"read certificate", "sign"},
    "Key Vault Certificate User": {"read certificate", "read key", "read secret"},
    "Key Vault Certificates Officer": {"read certificate", "update certificate"},
    "Key Vault Crypto User": {"read key", "sign"},
    "Key Vault Secrets User": {"read secret"},
    "Key Vault Administrator": set(OPERATIONS),
}


def is_allowed(attempt: Callable[[VaultClients, str], object], clients: VaultClients, principal: str) -> bool:
    """Try an operation; any failure but a refusal by role is a failure of the test."""
    try:
        attempt(clients, principal)
    except HttpResponseError as error:
        if error.status_code == 403 and error.error and error.error.innererror == {"code": "ForbiddenByRbac"}:
            return False
        raise
    return True


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_what_azure_lists_for_it_and_nothing_else(clients: VaultClients, role: str) -> None:
    """Every operation outside a role's data actions is 403 ForbiddenByRbac; the signer never reads the secret."""
    clients.vault.assign(role, role)
    allowed = {operation for operation, attempt in OPERATIONS.items() if is_allowed(attempt, clients, role)}
    assert allowed == MAY[role]


def test_a_principal_without_a_role_may_nothing_and_learns_nothing(clients: VaultClients) -> None:
    """Refusal comes before existence: an absent certificate is 403 for a stranger, not 404."""
    answer = clients.http("stranger").get("/certificates/absent")
    assert answer.status_code == 403
    assert "Action: 'Microsoft.KeyVault/vaults/certificates/read'" in answer.json()["error"]["message"]


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(own_clients: VaultClients) -> None:
    """Roles are read for every request."""
    own_clients.vault.assign("app", "vend signer")
    client = own_clients.certificates("app")
    assert list(client.list_properties_of_certificates()) == []
    own_clients.vault.unassign("app", "vend signer")
    with pytest.raises(HttpResponseError, match="not authorized"):
        list(client.list_properties_of_certificates())


def test_a_role_that_azure_does_not_know_cannot_be_given(own_clients: VaultClients) -> None:
    """A misspelt role is an error where it is written, not a puzzling 403 later."""
    with pytest.raises(KeyError, match="Key Vault Reeder"):
        own_clients.vault.assign("app", "Key Vault Reeder")


def test_a_request_without_a_token_is_told_where_to_get_one(clients: VaultClients) -> None:
    """The first 401 carries the challenge that every Azure SDK begins with."""
    answer = clients.http(None).get("/certificates/vend")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "Unauthorized"
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="{AUTHORITY}/{TENANT}", resource="https://vault.azure.net"'
    )


def test_a_token_that_is_no_good_here_is_refused(clients: VaultClients) -> None:
    """A bearer that `authenticate` rejects stays 401 after the challenge."""
    with pytest.raises(ClientAuthenticationError):
        clients.certificates("nobody").get_certificate("vend")


@pytest.mark.parametrize("api_version", ["", "7.7", "7", "2016-10-01", "latest"])
def test_an_api_version_that_the_vault_does_not_speak_is_refused(clients: VaultClients, api_version: str) -> None:
    """A missing or unknown api-version is 400, before the address is looked at."""
    answer = clients.http().get("/certificates/absent", params={"api-version": api_version})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/certificates/vend", 405),
        ("POST", "/secrets/vend", 405),
        ("GET", "/certificates/vend/create", 404),
        ("GET", "/storage", 404),
    ],
)
def test_an_address_or_method_that_does_not_exist_is_refused_in_json(
    clients: VaultClients, method: str, path: str, status: int
) -> None:
    """The SDKs parse every refusal, also those of the router."""
    answer = clients.http().request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_every_answer_names_its_request(clients: VaultClients) -> None:
    """Support asks for `x-ms-request-id`: it is there on success and refusal, and differs each time."""
    http = clients.http()
    answers = [http.get("/certificates/vend"), http.get("/certificates/absent"), clients.http(None).get("/")]
    assert len({answer.headers["x-ms-request-id"] for answer in answers}) == 3
    assert {answer.headers["x-ms-keyvault-region"] for answer in answers} == {"local"}


@pytest.mark.parametrize(
    ("audience", "message"),
    [
        (
            "https://management.azure.com/",
            "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/.",
        ),
        ("https://vault.azure.net/", "[BearerReadAccessTokenFailed] Error validating token: 'S2S17000'."),
    ],
)
def test_a_token_for_another_service_is_named(clients: VaultClients, audience: str, message: str) -> None:
    """FND-F3: 401 with the audience that the vault found, and the challenge again."""
    token = jwt.encode({"aud": audience}, "0" * 32)
    answer = clients.http(None).get("/certificates/vend", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, message)
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("closure", Closure)
def test_the_network_of_a_vault_keeps_every_caller_out(own_clients: VaultClients, closure: Closure) -> None:
    """FND-F4: 403 by an inner code, whatever the role and the address; a caller without a token is still 401."""
    own_clients.vault.app.closed = closure
    answers = [own_clients.http().get(path) for path in ("/certificates", "/storage")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert {answer.json()["error"]["innererror"]["code"] for answer in answers} == {closure}
    assert f"Caller: oid={ADMIN}" in answers[0].json()["error"]["message"]
    assert own_clients.http(None).get("/certificates").status_code == 401
    own_clients.vault.app.closed = None
    assert own_clients.http().get("/certificates").status_code == 200
