import base64
import datetime as dt
import hashlib
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.certificates import (
    CertificateContentType,
    CertificatePolicy,
    KeyCurveName,
    KeyType,
    KeyVaultCertificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from emulator.vault.certificates import Material, make
from emulator.vault.policy import Policy
from tests.emulator.vault_clients import START, VaultClients, VaultHost

NOW = dt.datetime.fromtimestamp(START, dt.UTC)


@pytest.fixture
def clients(host: VaultHost) -> Iterator[VaultClients]:
    """An empty vault."""
    with host.vault() as clients:
        yield clients


@pytest.fixture(scope="module")
def foreign() -> Material:
    """A certificate that was made outside the vault."""
    return make(Policy("CN=foreign,O=Elsewhere", key_usage=("digitalSignature",)), now=NOW)


def as_pfx(material: Material, password: bytes) -> bytes:
    """Write a PFX as `openssl pkcs12 -export` does."""
    encryption = serialization.BestAvailableEncryption(password)
    return pkcs12.serialize_key_and_certificates(b"foreign", material.key, material.certificate, None, encryption)


def as_pem(material: Material) -> bytes:
    """Write the key and the certificate into one PEM file."""
    key = material.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + material.certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate: KeyVaultCertificate) -> bytes:
    """The X.509 certificate of a bundle."""
    assert certificate.cer is not None
    return bytes(certificate.cer)


def test_a_created_certificate_is_what_its_policy_says(clients: VaultClients) -> None:
    """Creation is an operation that completes; subject, names, usage, size and validity follow policy and clock."""
    policy = CertificatePolicy(
        "Self",
        subject="cn=vend, o=Contoso",
        san_dns_names=["vend.example"],
        exportable=False,
        key_size=3072,
        key_usage=["digitalSignature"],
        enhanced_key_usage=["1.3.6.1.5.5.7.3.2"],
        validity_in_months=3,
    )
    created = clients.certificates().begin_create_certificate("vend", policy, tags={"team": "identity"}).result()
    assert isinstance(created, KeyVaultCertificate)
    certificate = x509.load_der_x509_certificate(der(created))
    assert certificate.subject.rfc4514_string() == "CN=vend,O=Contoso"
    assert certificate.issuer == certificate.subject
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 3072
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["vend.example"]
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment) == (True, False)
    # Ten minutes for clocks that are behind, as in the real vault.
    assert certificate.not_valid_before_utc == NOW - dt.timedelta(minutes=10)
    assert certificate.not_valid_after_utc == NOW.replace(month=NOW.month + 3)
    assert created.properties is not None
    assert created.properties.not_before == certificate.not_valid_before_utc
    assert created.properties.expires_on == certificate.not_valid_after_utc
    assert created.properties.x509_thumbprint == hashlib.sha1(der(created)).digest()  # noqa: S324 - x5t is SHA-1
    assert created.properties.tags == {"team": "identity"}
    version = created.properties.version
    assert created.key_id == f"{clients.url}/keys/vend/{version}"
    assert created.secret_id == f"{clients.url}/secrets/vend/{version}"


def test_a_new_version_is_the_latest_and_the_old_one_stays(clients: VaultClients) -> None:
    """A name means its newest version; a named version answers without the policy."""
    old = clients.vault.create_certificate("vend", Policy("CN=vend"))
    new = clients.vault.create_certificate("vend", Policy("CN=vend"))
    client = clients.certificates()
    latest = client.get_certificate("vend")
    assert der(latest) == clients.vault.certificate("vend", new)
    assert latest.policy is not None
    assert latest.policy.key_size == 2048
    kept = client.get_certificate_version("vend", old)
    assert der(kept) == clients.vault.certificate("vend", old) != der(latest)
    assert kept.policy is None


def test_a_version_can_keep_the_key_of_the_one_before(clients: VaultClients) -> None:
    """`reuse_key` renews the certificate, not the key."""
    versions = [clients.vault.create_certificate("vend", Policy("CN=vend", reuse_key=True)) for _ in range(2)]
    first, second = (x509.load_der_x509_certificate(clients.vault.certificate("vend", each)) for each in versions)
    assert first != second
    assert first.public_key() == second.public_key()


@pytest.mark.parametrize("page", [None, 10])
def test_versions_are_listed_in_pages_in_no_order_of_age(clients: VaultClients, page: int | None) -> None:
    """A page holds at most 25 versions; following the links yields each version once."""
    made = [clients.vault.create_certificate("vend", Policy("CN=vend", reuse_key=True)) for _ in range(26)]
    listed = clients.certificates().list_properties_of_certificate_versions("vend", max_page_size=page)
    pages = [[item.version for item in each] for each in listed.by_page()]
    assert [len(each) for each in pages] == ([25, 1] if page is None else [10, 10, 6])
    assert sorted(made) == [version for each in pages for version in each]


def test_certificates_are_listed_by_name(clients: VaultClients) -> None:
    """The list holds names with the attributes of their latest version."""
    for name in ("b", "a"):
        clients.vault.create_certificate(name, Policy(f"CN={name}"))
    assert [each.name for each in clients.certificates().list_properties_of_certificates()] == ["a", "b"]


def test_a_disabled_version_stays_the_latest(clients: VaultClients) -> None:
    """Disabling does not bring the version before back: a reader must choose among the versions itself."""
    clients.vault.create_certificate("vend", Policy("CN=vend", reuse_key=True))
    new = clients.vault.create_certificate("vend", Policy("CN=vend", reuse_key=True))
    client = clients.certificates()
    clients.clock.now += 60
    updated = client.update_certificate_properties("vend", new, enabled=False, tags={"why": "rolled back"})
    assert updated.properties is not None
    assert updated.properties.updated_on == NOW + dt.timedelta(seconds=60)
    latest = client.get_certificate("vend").properties
    assert latest is not None
    assert (latest.version, latest.enabled, latest.tags) == (new, False, {"why": "rolled back"})


def test_a_policy_update_changes_what_it_names(clients: VaultClients) -> None:
    """Members that the update leaves out keep their values."""
    clients.vault.create_certificate("vend", Policy("CN=vend", exportable=False, validity_months=6))
    client = clients.certificates()
    client.update_certificate_policy("vend", CertificatePolicy("Self", subject="CN=renamed", key_size=4096))
    policy = client.get_certificate_policy("vend")
    assert (policy.subject, policy.key_size) == ("CN=renamed", 4096)
    assert (policy.exportable, policy.validity_in_months) == (False, 6)


def test_a_pfx_with_a_password_can_be_imported(clients: VaultClients, foreign: Material) -> None:
    """The version is the certificate that was given, and the policy describes it."""
    imported = clients.certificates().import_certificate("vend", as_pfx(foreign, b"correct"), password="correct")
    assert x509.load_der_x509_certificate(der(imported)) == foreign.certificate
    assert imported.policy is not None
    assert imported.policy.subject == "CN=foreign,O=Elsewhere"
    assert imported.policy.issuer_name == "Unknown"
    assert clients.http().get("/certificates/vend/pending").json()["error"]["code"] == "PendingCertificateNotFound"


def test_a_pem_file_can_be_imported_when_the_policy_says_pem(clients: VaultClients, foreign: Material) -> None:
    """Without a policy the vault expects a PFX."""
    client = clients.certificates()
    with pytest.raises(HttpResponseError, match="PKCS#12"):
        client.import_certificate("vend", as_pem(foreign))
    policy = CertificatePolicy(
        "Unknown", content_type=CertificateContentType.pem, key_type=KeyType.rsa, exportable=False
    )
    imported = client.import_certificate("vend", as_pem(foreign), policy=policy)
    assert x509.load_der_x509_certificate(der(imported)) == foreign.certificate
    assert imported.policy is not None
    assert imported.policy.exportable is False


@pytest.mark.parametrize(("size", "refused"), [(1024, True), (2048, False)], ids=["RSA 1024", "RSA 2048"])
def test_an_imported_key_has_a_size_that_key_vault_takes(clients: VaultClients, size: int, *, refused: bool) -> None:
    """RSA under 2048 bits is refused by an inner code of its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    pfx = base64.b64encode(as_pfx(make(Policy("CN=small"), now=NOW, key=key), b"correct")).decode()
    answer = clients.http().post("/certificates/vend/import", json={"value": pfx, "pwd": "correct"})
    inner = answer.json().get("error", {}).get("innererror")
    assert (answer.status_code, inner) == ((400, {"code": "KeySizeNotSupported"}) if refused else (200, None))


def test_an_elliptic_certificate_can_be_imported(clients: VaultClients) -> None:
    """Key Vault takes what Entra does not: the policy names the curve."""
    material = make(Policy("CN=elliptic", curve="P-384", key_usage=("digitalSignature",)), now=NOW)
    imported = clients.certificates().import_certificate("vend", as_pfx(material, b"correct"), password="correct")
    assert x509.load_der_x509_certificate(der(imported)) == material.certificate
    assert imported.policy is not None
    assert (imported.policy.key_type, imported.policy.key_curve_name) == (KeyType.ec, KeyCurveName.p_384)


def test_names_and_versions_are_found_in_any_case(clients: VaultClients) -> None:
    """FND-F2: an id is the same in capitals, and keeps the form in which it was made."""
    version = clients.vault.create_certificate("Vend", Policy("CN=vend"))
    again = clients.vault.create_certificate("vEND", Policy("CN=vend"))
    got = clients.certificates().get_certificate_version("VEND", version.upper())
    assert got.id == f"{clients.url}/certificates/Vend/{version}"
    assert clients.vault.versions("vend") == [version, again]
    clients.certificates().begin_delete_certificate("VEND").wait()
    assert clients.certificates().get_deleted_certificate("vend").name == "Vend"
    clients.certificates().begin_recover_deleted_certificate("venD").wait()
    assert clients.http().get("/keys/VEND").status_code == clients.http().get("/secrets/VEND").status_code == 200


def test_what_cannot_be_imported_is_refused(clients: VaultClients, foreign: Material) -> None:
    """A wrong password, no key, somebody else's key and an expired certificate are each 400."""
    other = make(Policy("CN=other"), now=NOW)
    expired = make(Policy("CN=expired"), now=NOW - dt.timedelta(days=400), key=foreign.key)
    pem: dict[str, object] = {"secret_props": {"contentType": "application/x-pem-file"}}
    pfx = base64.b64encode(as_pfx(foreign, b"correct")).decode()
    bodies: list[dict[str, object]] = [
        {},
        {"value": pfx},
        {"value": pfx, "pwd": "wrong"},
        {"value": "not base64"},
        {"value": foreign.certificate.public_bytes(serialization.Encoding.PEM).decode(), "policy": pem},
        {"value": as_pem(Material(foreign.certificate, other.key)).decode(), "policy": pem},
        {"value": as_pem(expired).decode(), "policy": pem},
    ]
    http = clients.http()
    answers = [http.post("/certificates/vend/import", json=body) for body in bodies]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(400, "BadParameter")] * 7
    assert http.get("/certificates/vend").status_code == 404


SUBJECT = {"subject": "CN=vend"}


def renewal(trigger: dict[str, int], kind: str = "AutoRenew") -> dict[str, object]:
    """Write a lifetime action."""
    return {"trigger": trigger, "action": {"action_type": kind}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/certificates/vend/create", {}),
        ("/certificates/vend/create", []),
        ("/certificates/vend/create", {"policy": {"x509_props": {"subject": "vend"}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": {**SUBJECT, "validity_months": 0}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": {**SUBJECT, "key_usage": ["sign"]}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": {**SUBJECT, "ekus": ["server"]}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "key_props": {"key_size": 1024}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "key_props": {"kty": "RSA-HSM"}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "key_props": {"kty": "EC", "crv": "P-224"}}}),
        (
            "/certificates/vend/create",
            {"policy": {"x509_props": {**SUBJECT, "key_usage": ["keyEncipherment"]}, "key_props": {"kty": "EC"}}},
        ),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "lifetime_actions": [{}]}}),
        (
            "/certificates/vend/create",
            {"policy": {"x509_props": SUBJECT, "lifetime_actions": [renewal({"lifetime_percentage": 100})]}},
        ),
        (
            "/certificates/vend/create",
            {"policy": {"x509_props": SUBJECT, "lifetime_actions": [renewal({"days_before_expiry": 12 * 27 + 1})]}},
        ),
        (
            "/certificates/vend/create",
            {
                "policy": {
                    "x509_props": SUBJECT,
                    "lifetime_actions": [renewal({"days_before_expiry": 9, "lifetime_percentage": 9})],
                }
            },
        ),
        (
            "/certificates/vend/create",
            {"policy": {"x509_props": SUBJECT, "lifetime_actions": [renewal({"days_before_expiry": 9}, "Renew")]}},
        ),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "issuer": {"name": "DigiCert"}}}),
        ("/certificates/vend/create", {"policy": {"x509_props": SUBJECT, "secret_props": {"contentType": "pem"}}}),
        ("/certificates/under_score/create", {"policy": {"x509_props": SUBJECT}}),
    ],
)
def test_a_certificate_that_cannot_be_made_is_refused(clients: VaultClients, path: str, body: object) -> None:
    """A policy is checked whole before anything is made."""
    answer = clients.http().post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")
    assert list(clients.certificates().list_properties_of_certificates()) == []


@pytest.mark.parametrize(
    ("name", "value"), [("maxresults", "0"), ("maxresults", "26"), ("maxresults", "many"), ("$skiptoken", "%")]
)
def test_a_page_that_does_not_exist_is_refused(clients: VaultClients, name: str, value: str) -> None:
    """A page holds 1 to 25 entries, and its link is the vault's own."""
    answer = clients.http().get("/certificates", params={name: value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


def test_dates_of_a_certificate_cannot_be_changed(clients: VaultClients) -> None:
    """What X.509 says is not an attribute that a client sets."""
    clients.vault.create_certificate("vend", Policy("CN=vend"))
    answer = clients.http().patch("/certificates/vend", json={"attributes": {"exp": 4_000_000_000}})
    assert answer.status_code == 400


def test_a_deleted_certificate_waits_in_the_recycle_bin(clients: VaultClients) -> None:
    """Certificate, key and secret vanish together, the name stays taken, and recovery brings all versions back."""
    version = clients.vault.create_certificate("vend", Policy("CN=vend"))
    client = clients.certificates()
    deleted = client.begin_delete_certificate("vend").result()
    assert deleted.deleted_on == NOW
    assert deleted.scheduled_purge_date == NOW + dt.timedelta(days=90)
    http = clients.http()
    codes = [http.get(f"/{kind}/vend").json()["error"]["code"] for kind in ("certificates", "keys", "secrets")]
    assert codes == ["CertificateNotFound", "KeyNotFound", "SecretNotFound"]
    with pytest.raises(ResourceExistsError, match="deleted but recoverable"):
        client.begin_create_certificate("vend", CertificatePolicy("Self", subject="CN=vend"))
    assert [each.name for each in client.list_deleted_certificates()] == ["vend"]
    client.begin_recover_deleted_certificate("vend").result()
    assert der(client.get_certificate_version("vend", version)) == clients.vault.certificate("vend")


def test_a_purged_certificate_is_gone_and_its_name_is_free(clients: VaultClients) -> None:
    """Purging is for good; only what is deleted can be purged."""
    clients.vault.create_certificate("vend", Policy("CN=vend"))
    client = clients.certificates()
    with pytest.raises(ResourceNotFoundError):
        client.purge_deleted_certificate("vend")
    client.begin_delete_certificate("vend").wait()
    client.purge_deleted_certificate("vend")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_certificate("vend")
    assert clients.vault.create_certificate("vend", Policy("CN=vend"))


@pytest.mark.parametrize("path", ["/certificates/vend", "/certificates/vend/0123456789abcdef0123456789abcdef"])
def test_a_certificate_that_is_not_there_is_not_found(clients: VaultClients, path: str) -> None:
    """An absent name and an absent version have one code."""
    if path.count("/") > 2:
        clients.vault.create_certificate("vend", Policy("CN=vend"))
    answer = clients.http().get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "CertificateNotFound")


def test_a_body_that_is_not_json_is_refused(clients: VaultClients) -> None:
    """A broken body is the client's mistake, said in the vault's error document."""
    answer = clients.http().post("/certificates/vend/create", content=b'{"policy": ')
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")
