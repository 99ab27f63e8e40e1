import base64
import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from emulator.cloud import LocalCloud
from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import TrustedSubject
from emulator.entra.assertion import TYPE
from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from tests.emulator.client import Clock, KeyPair, compact, key_pair
from tests.pki import chain
from tests.tables import case_id, cases

DAY = 86400

type Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change of a good assertion; tests/data/client_assertions.toml describes the fields."""

    id: str
    claims: Mapping[str, Value] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    nbf_in: int = 0
    exp_in: int = 600
    times_as_strings: bool = False
    header: Mapping[str, Value] = field(default_factory=dict)
    alg: str = "PS256"
    signed_as: str | None = None
    key: Literal["registered", "stranger"] = "registered"
    code: int | None = None
    status: int = 200


@pytest.fixture(scope="module")
def stranger(clock: Clock) -> KeyPair:
    """A key whose certificate nobody registered."""
    return key_pair(starts=clock() - DAY, ends=clock() + DAY)


def filled(value: Value, words: Mapping[str, str]) -> Value:
    """Put the real names in place of the table's."""
    return value.format(**words) if isinstance(value, str) else tuple(one.format(**words) for one in value)


def good_header(key: KeyPair) -> dict[str, Any]:
    """Make the header of an assertion that Entra takes."""
    return {"alg": "PS256", "typ": "JWT", "x5t#S256": key.thumbprint("sha256").rstrip("=")}


def good_claims(cloud: LocalCloud, now: float) -> dict[str, Any]:
    """Make the payload of an assertion that Entra takes."""
    return {
        "aud": f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token",
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "jti": str(uuid.uuid4()),
        "nbf": int(now),
        "exp": int(now) + 600,
    }


def send(http: httpx.Client, cloud: LocalCloud, assertion: str) -> httpx.Response:
    """Ask for a Graph token with this assertion."""
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "scope": f"{GRAPH}/.default",
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
    }
    return http.post(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", data=form)


@pytest.mark.parametrize("case", cases("client_assertions.toml", Case), ids=case_id)
def test_an_assertion_is_taken_or_refused_as_entra_does(
    case: Case,
    cloud: LocalCloud,
    clock: Clock,
    http: httpx.Client,
    registered: KeyPair,
    stranger: KeyPair,
) -> None:
    """Each row of the table gets a token, or the number and status of Entra's refusal."""
    words = {
        "authority": cloud.authority,
        "tenant": TENANT_ID,
        "sha1": registered.thumbprint("sha1").rstrip("="),
        "sha256": registered.thumbprint("sha256").rstrip("="),
        "x5c": base64.b64encode(registered.der).decode(),
        "stranger": stranger.thumbprint("sha256").rstrip("="),
        "stranger_x5c": base64.b64encode(stranger.der).decode(),
    }
    header = good_header(registered) | {"alg": case.alg}
    header |= {name: filled(value, words) for name, value in case.header.items()}
    claims = good_claims(cloud, clock())
    claims |= {"nbf": int(clock()) + case.nbf_in, "exp": int(clock()) + case.exp_in}
    claims |= {name: filled(value, words) for name, value in case.claims.items()}
    if case.times_as_strings:
        claims |= {"nbf": str(claims["nbf"]), "exp": str(claims["exp"])}
    claims = {name: value for name, value in claims.items() if name not in case.without}
    header = {name: value for name, value in header.items() if value != ""}
    key = stranger if case.key == "stranger" else registered

    answer = send(http, cloud, compact(header, claims, signed_as=case.signed_as or case.alg, key=key))

    got = answer.json()
    assert (answer.status_code, got.get("error_codes")) == (case.status, [case.code] if case.code else None)
    assert ("access_token" in got) is (case.code is None)


def test_the_same_assertion_may_come_again_until_it_expires(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, registered: KeyPair
) -> None:
    """Entra keeps no list of seen `jti`: clients reuse an assertion for nine of its ten minutes."""
    assertion = compact(good_header(registered), good_claims(cloud, clock()), signed_as="PS256", key=registered)

    assert [send(http, cloud, assertion).status_code for _ in range(2)] == [200, 200]


def test_what_is_remembered_of_an_assertion_identifies_it_and_cannot_be_used(
    cloud: LocalCloud, clock: Clock, http: httpx.Client, registered: KeyPair
) -> None:
    """The recorder has `jti`, thumbprint and algorithm; no part of the assertion itself."""
    claims = good_claims(cloud, clock())
    assertion = compact(good_header(registered), claims, signed_as="PS256", key=registered)

    send(http, cloud, assertion)

    seen = cloud.entra.requests[-1]
    assert seen.proof is not None
    assert (seen.proof.jti, seen.proof.algorithm) == (claims["jti"], "PS256")
    assert seen.proof.thumbprint == registered.thumbprint("sha256").rstrip("=")
    assert not any(part in repr(seen) for part in assertion.split("."))


def test_a_certificate_counts_between_its_dates_alone(cloud: LocalCloud, clock: Clock, http: httpx.Client) -> None:
    """A registered certificate that has ended is refused by its own number, whoever signed well with it."""
    ended = key_pair(starts=clock() - 2 * DAY, ends=clock() - DAY)
    cloud.directory.register_certificate(CLIENT_ID, ended.der)

    answer = send(http, cloud, compact(good_header(ended), good_claims(cloud, clock()), signed_as="PS256", key=ended))

    assert (answer.status_code, answer.json()["error_codes"]) == (401, [1000502])


def test_a_certificate_counts_while_it_is_registered(cloud: LocalCloud, clock: Clock, http: httpx.Client) -> None:
    """Registration and removal are in force with the next request: that is how a rotation looks to a client."""
    pair = key_pair(starts=clock() - DAY, ends=clock() + DAY)
    assertion = compact(good_header(pair), good_claims(cloud, clock()), signed_as="PS256", key=pair)

    before = send(http, cloud, assertion)
    key_id = cloud.directory.register_certificate(CLIENT_ID, pair.der)
    during = send(http, cloud, assertion)
    cloud.directory.remove_certificate(CLIENT_ID, key_id)
    after = send(http, cloud, assertion)

    assert [answer.status_code for answer in (before, during, after)] == [401, 200, 401]
    assert before.json()["error_codes"] == after.json()["error_codes"] == [700027]


SUBJECT = "CN=vend"


@dataclass(frozen=True)
class Trust:
    """What an application trusts, and what its client sends with an assertion.

    Args:
        id: of the case.
        subject: that is trusted.
        sends: the certificates that go with the assertion: the leaf, the authority between, the root.
        revoked: whether the leaf is.
        named: whether the thumbprint in the header is that of the leaf.
        code: the AADSTS number; None: a token is issued.
    """

    id: str
    subject: str = SUBJECT
    sends: int = 2
    revoked: bool = False
    named: bool = True
    code: int | None = None


TRUSTS = (
    Trust("the root is known"),
    Trust("the root is sent too", sends=3),
    Trust("another subject", subject="CN=another", code=50012),
    Trust("the authority between is missing", sends=1, code=50012),
    Trust("a revoked certificate", revoked=True, code=7000214),
    Trust("the thumbprint of another certificate", named=False, code=700027),
    Trust("nothing is trusted", subject="", code=700027),
)


@pytest.mark.parametrize("case", TRUSTS, ids=case_id)
def test_a_certificate_of_a_trusted_subject_needs_no_registration(
    case: Trust, cloud: LocalCloud, clock: Clock, http: httpx.Client, stranger: KeyPair
) -> None:
    """Its subject is trusted, a known authority has issued it through those that are sent, and it is not revoked."""
    now = dt.datetime.fromtimestamp(clock(), dt.UTC)
    leaf, issuing, root = chain(starts=now - dt.timedelta(days=1), ends=now + dt.timedelta(days=1))
    assert isinstance(leaf.key, rsa.RSAPrivateKey)
    pair = KeyPair(leaf.key, leaf.certificate)
    revoked = frozenset({RegisteredCertificate(leaf.certificate).thumbprint} if case.revoked else ())
    trusted = [TrustedSubject(case.subject, root.certificate, revoked)] if case.subject else []
    sent = [base64.b64encode(each.der).decode() for each in (leaf, issuing, root)[: case.sends]]
    header = good_header(pair if case.named else stranger) | {"x5c": sent}

    cloud.directory.trust_subjects(CLIENT_ID, *trusted)
    answer = send(http, cloud, compact(header, good_claims(cloud, clock()), signed_as="PS256", key=pair))
    cloud.directory.trust_subjects(CLIENT_ID)

    assert answer.json().get("error_codes") == ([case.code] if case.code else None)
    assert answer.status_code == (401 if case.code else 200)
