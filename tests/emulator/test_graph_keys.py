import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from emulator.cloud import LocalCloud
from emulator.directory.objects import KeyPolicy
from emulator.graph.applications import MOST_KEYS
from emulator.graph.proof import AUDIENCES, AZURE_AD_GRAPH, DOCUMENTED_ALGORITHMS
from emulator.network.faults import Fault, Kind
from emulator.seed import CLIENT_ID, GRAPH, OBJECT_ID, TENANT_ID
from tests.emulator.client import Clock, KeyPair, compact, key_pair, new_principal, self_signed, signed_token
from tests.tables import case_id, cases

DAY = 86400
SPREADING = 300.0

type Keys = Mapping[str, KeyPair]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change of a good request of addKey; tests/data/key_proofs.toml describes the fields."""

    id: str
    header: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    nbf_in: int = 0
    exp_in: int = 600
    signer: Literal["registered", "stranger", "ended", "to_come", "not_spread"] = "registered"
    signed_as: str = "RS256"
    padded: bool = False
    body: str = "{}"
    key: str = "{}"
    caller: Literal["own", "other"] = "own"
    address: Literal["object", "client", "other"] = "object"
    audiences: tuple[str, ...] = tuple(AUDIENCES)
    algorithms: tuple[str, ...] = tuple(DOCUMENTED_ALGORITHMS)
    accepts_repeated: bool = True
    most_keys: int = MOST_KEYS
    longest_life: float | None = None
    trusted: Literal["new", "registered"] | None = None
    new: Literal["new", "registered", "ended", "elliptic", "wrapped", "text"] = "new"
    status: int = 200
    code: str | None = None


@pytest.fixture(scope="module")
def keys(cloud: LocalCloud, clock: Clock) -> Keys:
    """Certificates of the seeded application in every state, a stranger's, and a new one."""
    now = clock()
    current, past, future = (now - DAY, now + DAY), (now - 2 * DAY, now - DAY), (now + DAY, now + 2 * DAY)
    dates = {"registered": current, "ended": past, "to_come": future, "stranger": current, "new": current}
    made = {name: key_pair(starts=starts, ends=ends) for name, (starts, ends) in dates.items()}
    for name in ("registered", "ended", "to_come"):
        cloud.directory.register_certificate(CLIENT_ID, made[name].der)
    cloud.directory.propagation_seconds = SPREADING
    made["not_spread"] = key_pair(starts=now - DAY, ends=now + DAY)
    cloud.directory.register_certificate(CLIENT_ID, made["not_spread"].der)
    cloud.directory.propagation_seconds = 0
    return made


@pytest.fixture(autouse=True)
def unchanged(cloud: LocalCloud, keys: Keys, clock: Clock) -> Iterator[None]:
    """Every test leaves the cloud as it was."""
    assert keys  # registered before this looks
    held, before = set(registered(cloud)), clock.moment
    yield
    for key_id in set(registered(cloud)) - held:
        cloud.directory.remove_certificate(CLIENT_ID, key_id)
    graph = cloud.graph.applications
    graph.audiences, graph.algorithms = AUDIENCES, DOCUMENTED_ALGORITHMS
    graph.accepts_repeated, graph.most_keys = True, MOST_KEYS
    cloud.directory.key_policy, cloud.directory.propagation_seconds = KeyPolicy(), 0
    clock.moment = before


def registered(cloud: LocalCloud) -> list[str]:
    """List the key ids of the seeded application."""
    application = cloud.directory.application(CLIENT_ID)
    assert application
    return list(application.certificates)


def hexadecimal(pair: KeyPair) -> str:
    """Write a SHA-1 thumbprint as .NET does."""
    return base64.urlsafe_b64decode(pair.thumbprint("sha1")).hex().upper()


def proof_of(case: Case, keys: Keys, now: float) -> str:
    """Sign the proof of a case."""
    signer = keys[case.signer]
    words = {"client": CLIENT_ID, "x5t": signer.thumbprint("sha1").rstrip("=")}
    for name in ("stranger", "registered"):
        words |= {f"{name}_x5t": keys[name].thumbprint("sha1").rstrip("="), f"{name}_hex": hexadecimal(keys[name])}
    header = {"typ": "JWT", "x5t": words["x5t"], "kid": hexadecimal(signer)}
    header |= {name: value.format(**words) for name, value in case.header.items()}
    claims: dict[str, Any] = {"aud": AZURE_AD_GRAPH, "iss": OBJECT_ID}
    claims |= {"nbf": int(now) + case.nbf_in, "exp": int(now) + case.exp_in}
    claims |= {name: value.format(**words) if isinstance(value, str) else value for name, value in case.claims.items()}
    claims = {name: value for name, value in claims.items() if name not in case.without}
    header = {"alg": case.signed_as} | {name: value for name, value in header.items() if value}
    proof = compact(header, claims, signed_as=case.signed_as, key=signer)
    return (
        "".join(part + "=" * (-len(part) % 4) + "." for part in proof.split(".")).rstrip(".") if case.padded else proof
    )


def key_text(case: Case, keys: Keys, clock: Clock) -> str:
    """Write the key of a case."""
    match case.new:
        case "text":
            return base64.b64encode(b"certificate").decode()
        case "elliptic":
            own = self_signed(ec.generate_private_key(ec.SECP256R1()), starts=clock() - DAY, ends=clock() + DAY)
            return base64.b64encode(own).decode()
        case "wrapped":
            return base64.encodebytes(keys["new"].der).decode()
        case name:
            return base64.b64encode(keys[name].der).decode()


def send(
    http: httpx.Client, cloud: LocalCloud, verb: str, body: object, *, object_id: str = OBJECT_ID
) -> httpx.Response:
    """Ask Graph as the seeded application, by a token without any role."""
    own = cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID)
    headers = {"authorization": f"Bearer {signed_token(cloud, own, resource=GRAPH)}"}
    return http.post(f"{cloud.graph_url}/v1.0/applications/{object_id}/{verb}", json=body, headers=headers)


def request_of(case: Case, keys: Keys, clock: Clock) -> dict[str, object]:
    """Write the body of a case."""
    key = {"type": "AsymmetricX509Cert", "usage": "Verify", "key": key_text(case, keys, clock)}
    good = {
        "keyCredential": {**key, **json.loads(case.key)},
        "passwordCredential": None,
        "proof": proof_of(case, keys, clock()),
    }
    return {**good, **json.loads(case.body)}


@pytest.mark.parametrize("case", cases("key_proofs.toml", Case), ids=case_id)
def test_a_certificate_is_registered_or_refused_as_graph_does(
    case: Case, cloud: LocalCloud, clock: Clock, http: httpx.Client, keys: Keys
) -> None:
    """Each row of the table registers a certificate, or gets the status and the code of Graph's refusal."""
    other = new_principal(cloud)
    addresses = {"object": OBJECT_ID, "client": CLIENT_ID, "other": str(other.app_id)}
    if case.address == "other":
        owner = cloud.directory.application(other.app_id)
        assert owner
        addresses["other"] = owner.object_id
    graph = cloud.graph.applications
    graph.audiences, graph.algorithms = frozenset(case.audiences), frozenset(case.algorithms)
    graph.accepts_repeated, graph.most_keys = case.accepts_repeated, case.most_keys
    cloud.directory.key_policy = KeyPolicy(
        longest_life=None if case.longest_life is None else case.longest_life * DAY,
        trusted_authorities=frozenset({keys[case.trusted].certificate}) if case.trusted else None,
    )
    caller = other if case.caller == "other" else cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID)
    before = registered(cloud)

    answer = http.post(
        f"{cloud.graph_url}/v1.0/applications/{addresses[case.address]}/addKey",
        json=request_of(case, keys, clock),
        headers={"authorization": f"Bearer {signed_token(cloud, caller, resource=GRAPH)}"},
    )

    got = answer.json()
    assert (answer.status_code, got.get("error", {}).get("code")) == (case.status, case.code)
    assert registered(cloud) == (before if case.code else [*before, got["keyId"]])


def test_the_answer_describes_the_key_and_does_not_repeat_it(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, keys: Keys
) -> None:
    """200 with the key credential: its id and dates, and null for the key."""
    got = send(http, cloud, "addKey", request_of(Case(id=""), keys, clock)).json()

    assert (got["type"], got["usage"], got["key"]) == ("AsymmetricX509Cert", "Verify", None)
    assert got["customKeyIdentifier"] == hexadecimal(keys["new"])
    assert got["endDateTime"] == keys["new"].certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_new_certificate_signs_proofs_once_it_has_spread(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, keys: Keys
) -> None:
    """A key that was added is of no use until Entra's front ends know it, by the clock."""
    cloud.directory.propagation_seconds = SPREADING
    send(http, cloud, "addKey", request_of(Case(id=""), keys, clock))
    mine = dict(keys, registered=keys["new"])

    early = send(http, cloud, "addKey", request_of(Case(id=""), mine, clock))
    clock.moment += SPREADING
    later = send(http, cloud, "addKey", request_of(Case(id=""), mine, clock))

    assert (early.status_code, later.status_code) == (401, 200)


@pytest.mark.parametrize(
    ("key_id", "signer", "status"),
    [("the new one", "registered", 204), ("unknown", "registered", 400), ("the new one", "stranger", 401)],
    ids=["good", "unknown key", "bad proof"],
)
def test_a_certificate_is_removed_by_its_key_id(
    cloud: LocalCloud,
    clock: Clock,
    http: httpx.Client,
    keys: Keys,
    key_id: str,
    signer: Literal["registered", "stranger"],
    status: int,
) -> None:
    """RemoveKey needs a proof too, and answers without a body."""
    added = send(http, cloud, "addKey", request_of(Case(id=""), keys, clock)).json()["keyId"]
    body = {
        "keyId": added if key_id == "the new one" else key_id,
        "proof": proof_of(Case(id="", signer=signer), keys, clock()),
    }

    answer = send(http, cloud, "removeKey", body)

    assert (answer.status_code, added in registered(cloud)) == (status, status != 204)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"keyId": null}'], ids=str)
def test_a_body_of_another_form_is_refused(cloud: LocalCloud, http: httpx.Client, body: bytes) -> None:
    """Neither verb takes what is no object with its members."""
    own = cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID)
    headers = {"authorization": f"Bearer {signed_token(cloud, own, resource=GRAPH)}"}
    url = f"{cloud.graph_url}/v1.0/applications/{OBJECT_ID}"

    answers = [http.post(f"{url}/{verb}", content=body, headers=headers) for verb in ("addKey", "removeKey")]

    assert [answer.json()["error"]["code"] for answer in answers] == ["Request_BadRequest"] * 2


def test_a_fault_of_graph_meets_the_keys_too(cloud: LocalCloud, clock: Clock, http: httpx.Client, keys: Keys) -> None:
    """Throttling registers nothing, and the requests that reached Graph are counted."""
    before, asked = registered(cloud), len(cloud.graph.requests)
    cloud.faults["graph"].set(Fault(kind=Kind.STATUS, status=429, headers={"Retry-After": "10"}, times=1))

    answers = [send(http, cloud, "addKey", request_of(Case(id=""), keys, clock)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [429, 200]
    assert len(registered(cloud)) == len(before) + 1
    assert [seen.path for seen in cloud.graph.requests[asked:]] == [f"/v1.0/applications/{OBJECT_ID}/addKey"]
