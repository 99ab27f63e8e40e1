import base64
import datetime as dt
import itertools
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.crypto import SignatureAlgorithm
from cryptography import x509

from emulator.vault.policy import AUTO_RENEW, RENEW_AT_80_PERCENT, Json, Policy
from tests.emulator.vault_clients import START, VaultClients, VaultHost

DAY = 86400
NOW = dt.datetime.fromtimestamp(START, dt.UTC)
ISSUER_NEEDS = 101.0  # seconds, as it was recorded
TEN_DAYS_BEFORE: Json = {"trigger": {"days_before_expiry": 10}, "action": AUTO_RENEW}
MAIL: Json = {"trigger": {"lifetime_percentage": 50}, "action": {"action_type": "EmailContacts"}}


@pytest.fixture
def clients(host: VaultHost) -> Iterator[VaultClients]:
    """An empty vault."""
    with host.vault() as clients:
        yield clients


def of_a_month(*actions: Json, issuer: str = "Self") -> Policy:
    """Make the policy of a certificate that lives for the 31 days of January and ten minutes."""
    return Policy("CN=vend", validity_months=1, reuse_key=True, lifetime_actions=actions, issuer=issuer)


@pytest.mark.parametrize(
    ("actions", "day"),
    [
        ((RENEW_AT_80_PERCENT,), 24.8),
        ((TEN_DAYS_BEFORE,), 21.0),
        ((MAIL, TEN_DAYS_BEFORE), 21.0),
        ((RENEW_AT_80_PERCENT, TEN_DAYS_BEFORE), 21.0),
        ((MAIL,), None),
        ((), None),
    ],
    ids=["percentage", "days", "mail and days", "the earlier one", "mail", "none"],
)
def test_a_policy_renews_by_the_clock(clients: VaultClients, actions: tuple[Json, ...], day: float | None) -> None:
    """A new version comes at the moment of the first action that renews; mail makes none."""
    first = clients.vault.create_certificate("vend", of_a_month(*actions))
    clients.clock.now = START + (day or 40) * DAY - 180
    before = clients.vault.versions("vend")
    clients.clock.now += 180
    after = clients.vault.versions("vend")

    assert (before, len(after)) == ([first], 2 if day else 1)
    latest = clients.certificates().get_certificate("vend").properties
    assert latest
    assert latest.created_on
    assert latest.version == after[-1]
    assert abs(latest.created_on.timestamp() - START - (day or 0) * DAY) <= 120


def test_a_vault_that_nobody_looks_at_renews_again_and_again(clients: VaultClients) -> None:
    """After a year of silence every renewal is there, each at its own moment."""
    clients.vault.create_certificate("vend", of_a_month(RENEW_AT_80_PERCENT))
    clients.clock.now += 365 * DAY

    versions = clients.vault.versions("vend")

    found = [x509.load_der_x509_certificate(clients.vault.certificate("vend", each)) for each in versions]
    gaps = [
        (later.not_valid_before_utc - earlier.not_valid_before_utc).days for earlier, later in itertools.pairwise(found)
    ]
    assert len(versions) == 15
    assert set(gaps) <= {22, 23, 24}
    assert found[-1].not_valid_after_utc.timestamp() > clients.clock.now


def test_a_new_policy_renews_from_now(clients: VaultClients) -> None:
    """A moment that had passed before the policy named it is now."""
    clients.vault.create_certificate("vend", of_a_month())
    clients.clock.now += 40 * DAY
    clients.vault.set_policy("vend", of_a_month(RENEW_AT_80_PERCENT))

    assert len(clients.vault.versions("vend")) == 2
    made = x509.load_der_x509_certificate(clients.vault.certificate("vend"))
    assert made.not_valid_before_utc == NOW + dt.timedelta(days=40, minutes=-10)


def test_what_another_issuer_has_made_is_not_renewed(clients: VaultClients) -> None:
    """An imported certificate has no issuer that the vault could ask."""
    clients.vault.create_certificate("vend", of_a_month())
    clients.vault.set_policy("vend", of_a_month(RENEW_AT_80_PERCENT, issuer="Unknown"))
    clients.clock.now += 40 * DAY

    assert len(clients.vault.versions("vend")) == 1


def test_a_deleted_certificate_is_renewed_once_it_is_back(clients: VaultClients) -> None:
    """Nothing happens in the recycle bin."""
    clients.vault.create_certificate("vend", of_a_month(RENEW_AT_80_PERCENT))
    client = clients.certificates()
    client.begin_delete_certificate("vend").wait()
    clients.clock.now += 40 * DAY
    client.begin_recover_deleted_certificate("vend").wait()

    made = x509.load_der_x509_certificate(clients.vault.certificate("vend"))
    assert made.not_valid_before_utc == NOW + dt.timedelta(days=40, minutes=-10)


def test_creation_is_answered_with_where_and_when_to_look(clients: VaultClients) -> None:
    """FND-F1: 202 with the address of the pending operation, ten seconds to wait, and the request for the issuer."""
    policy = {"x509_props": {"subject": "CN=vend"}}
    answer = clients.http().post("/certificates/vend/create", json={"policy": policy})

    body = answer.json()
    pending = f"{clients.url}/certificates/vend/pending"
    assert (answer.status_code, answer.headers["Retry-After"], body["status"]) == (202, "10", "inProgress")
    assert answer.headers["Location"] == f"{pending}?api-version=7.6&request_id={body['request_id']}"
    request = x509.load_der_x509_csr(base64.b64decode(body["csr"]))
    assert request.public_key() == x509.load_der_x509_certificate(clients.vault.certificate("vend")).public_key()


def test_a_version_that_is_pending_has_no_certificate_yet(clients: VaultClients) -> None:
    """It is the latest, disabled, without thumbprint and certificate; it can be looked at until it is complete."""
    old = clients.vault.create_certificate("vend", Policy("CN=vend"))
    clients.vault.store.pending_seconds = ISSUER_NEEDS
    new = clients.vault.create_certificate("vend", Policy("CN=vend"))
    http = clients.http()

    document = http.get("/certificates/vend").json()
    operation = http.get("/certificates/vend/pending")
    listed = http.get("/certificates/vend/versions").json()["value"]
    clients.clock.now += ISSUER_NEEDS - 1
    almost = http.get("/certificates/vend/pending").json()["status"]
    clients.clock.now += 1
    done = http.get("/certificates/vend/pending")
    complete = clients.certificates().get_certificate("vend")

    assert document.keys() == {"id", "attributes", "policy", "pending"}
    assert document["attributes"]["enabled"] is False
    assert (operation.status_code, operation.headers["Retry-After"]) == (200, "10")
    assert {item["id"].rpartition("/")[2]: "x5t" in item for item in listed} == {old: True, new: False}
    assert (operation.json()["status"], almost, done.json()["status"]) == ("inProgress", "inProgress", "completed")
    assert "Retry-After" not in done.headers
    assert complete.properties
    assert (complete.properties.version, complete.properties.enabled) == (new, True)


def test_a_version_that_is_pending_signs_nothing_and_shows_no_secret(clients: VaultClients) -> None:
    """Its key is disabled; the version before signs by its own address."""
    old = clients.vault.create_certificate("vend", Policy("CN=vend"))
    clients.vault.store.pending_seconds = ISSUER_NEEDS
    clients.vault.create_certificate("vend", Policy("CN=vend"))

    with pytest.raises(HttpResponseError, match="disabled key"):
        clients.cryptography("vend").sign(SignatureAlgorithm.ps256, bytes(32))
    with pytest.raises(HttpResponseError, match="disabled secret"):
        clients.secrets().get_secret("vend")
    assert clients.cryptography("vend", old).sign(SignatureAlgorithm.ps256, bytes(32)).signature


def test_a_renewal_is_pending_too(clients: VaultClients) -> None:
    """The issuer needs its time from the moment of the renewal."""
    clients.vault.create_certificate("vend", of_a_month(TEN_DAYS_BEFORE))
    clients.vault.store.pending_seconds = ISSUER_NEEDS
    http = clients.http()
    enabled = []
    for moment in (0, ISSUER_NEEDS - 1, ISSUER_NEEDS):
        clients.clock.now = START + 21 * DAY + moment
        enabled.append(http.get("/certificates/vend").json()["attributes"]["enabled"])

    assert enabled == [False, False, True]
