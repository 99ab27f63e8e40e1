import base64
from collections.abc import Iterator

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import KeyPolicy
from emulator.seed import CLIENT_ID, IDENTITY_PRINCIPAL_ID, TOKEN_EXCHANGE
from tests.emulator.client import Clock, key_pair

DAY = 86400
ABSENT = "00000000-0000-0000-0000-000000000002"
FEDERATED = {"issuer": "https://tokens.example", "subject": IDENTITY_PRINCIPAL_ID, "audience": TOKEN_EXCHANGE}


@pytest.fixture
def control(cloud: LocalCloud) -> Iterator[httpx.Client]:
    """The control API of the cloud, whose rules return afterwards."""
    with httpx.Client(base_url=cloud.control) as client:
        yield client
    cloud.directory.propagation_seconds, cloud.directory.key_policy = 0, KeyPolicy()


def test_a_certificate_is_registered_and_removed(cloud: LocalCloud, clock: Clock, control: httpx.Client) -> None:
    """Another process changes what Entra accepts."""
    certificate = base64.b64encode(key_pair(starts=clock() - DAY, ends=clock() + DAY).der).decode()
    url = f"/applications/{CLIENT_ID}/certificates"

    added = control.post(url, json={"certificate": certificate}).json()["id"]
    application = cloud.directory.application(CLIENT_ID)
    assert application
    assert added in application.certificates
    again = control.post(url, json={"certificate": certificate})
    statuses = [control.delete(f"{url}/{added}").status_code for _ in range(2)]

    assert (again.status_code, again.json()) == (400, {"error": "the certificate is registered already"})
    assert statuses == [204, 404]


def test_a_federated_credential_is_added_and_removed(cloud: LocalCloud, control: httpx.Client) -> None:
    """It has the issuer, subject and audience of the request."""
    url = f"/applications/{CLIENT_ID}/federated_credentials"

    added = control.post(url, json=FEDERATED).json()["id"]
    application = cloud.directory.application(CLIENT_ID)
    assert application
    held = application.federated_credentials[added]
    statuses = [control.delete(f"{url}/{added}").status_code for _ in range(2)]

    assert {"issuer": held.issuer, "subject": held.subject, "audience": held.audience} == FEDERATED
    assert statuses == [204, 404]


def test_a_secret_is_drawn(cloud: LocalCloud, control: httpx.Client) -> None:
    """The answer has the value, which Entra takes from then on."""
    secret = control.post(f"/applications/{CLIENT_ID}/secrets", json={"lifetime_seconds": 60}).json()["secret"]

    application = cloud.directory.application(CLIENT_ID)
    assert application
    assert any(known.equals(secret) for known in application.client_secrets.values())


def test_the_rules_are_set_one_by_one(cloud: LocalCloud, control: httpx.Client) -> None:
    """A rule that the request does not name stays; null lifts the rule of the lifetime."""
    first = control.put("/directory", json={"propagation_seconds": 300, "key_lifetime_days": 90}).json()
    second = control.put("/directory", json={"key_lifetime_days": None}).json()

    assert first == {"propagation_seconds": 300, "key_lifetime_days": 90}
    assert second == {"propagation_seconds": 300, "key_lifetime_days": None}
    assert (cloud.directory.propagation_seconds, cloud.directory.key_policy) == (300, KeyPolicy())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"/applications/{ABSENT}/secrets", {"lifetime_seconds": 1}, 404),
        ("POST", f"/applications/{CLIENT_ID}/secrets", {"lifetime_seconds": "1"}, 400),
        ("POST", f"/applications/{CLIENT_ID}/secrets", [], 400),
        ("POST", f"/applications/{CLIENT_ID}/certificates", {"certificate": "?"}, 400),
        ("POST", f"/applications/{CLIENT_ID}/certificates", {}, 400),
        ("POST", f"/applications/{CLIENT_ID}/federated_credentials", {"issuer": "https://tokens.example"}, 400),
        ("PUT", "/directory", {"propagation_seconds": -1}, 400),
        ("PUT", "/directory", {"propagation": 1}, 400),
    ],
)
def test_a_mistake_is_told(control: httpx.Client, method: str, path: str, body: object, status: int) -> None:
    """404 for what is not there, 400 with the mistake."""
    answer = control.request(method, path, json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
