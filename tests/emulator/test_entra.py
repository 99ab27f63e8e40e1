import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import jwt
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import Api, Application
from emulator.entra.app import HONEST, Forgery
from emulator.seed import CLIENT_ID, GRAPH, GRAPH_ID, ORDERS, ORDERS_ID, TENANT_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from tests.emulator.client import Clock
from tests.tables import case_id, cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change of a good token request; tests/data/token_requests.toml describes the fields."""

    id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    extra: str = ""
    basic: tuple[str, str] | None = None
    content_type: str = "application/x-www-form-urlencoded"
    tenant: str = TENANT_ID
    code: int | None = None
    error: str | None = None
    status: int = 200


def ask(http: httpx.Client, cloud: LocalCloud, **changes: str) -> httpx.Response:
    """Ask for a token by a secret, a Graph token unless told otherwise."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "scope": f"{GRAPH}/.default"}
    return http.post(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token", data=form | changes)


def claims_of(answer: httpx.Response) -> dict[str, Any]:
    """Read a token that was just issued."""
    token: str = answer.json()["access_token"]
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize("case", cases("token_requests.toml", Case), ids=case_id)
def test_a_request_is_answered_or_refused_as_entra_does(
    case: Case, cloud: LocalCloud, http: httpx.Client, client_secret: str
) -> None:
    """Each row of the table gets a token, or the number, the word and the status of Entra's refusal."""
    words = {"client": CLIENT_ID, "secret": client_secret, "graph": GRAPH_ID}
    fields = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": client_secret,
        "scope": f"{GRAPH}/.default",
    }
    for name, value in case.fields.items():
        fields[name] = value if name == "claims" else value.format(**words)
    fields = {name: value for name, value in fields.items() if name not in case.without}
    headers = {"Content-Type": case.content_type}
    if case.basic:
        pair = ":".join(quote_plus(part.format(**words)) for part in case.basic)
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    answer = http.post(
        f"{cloud.authority}/{case.tenant}/oauth2/v2.0/token",
        content=urlencode(fields) + case.extra,
        headers=headers,
    )

    got = answer.json()
    assert (answer.status_code, got.get("error"), got.get("error_codes")) == (
        case.status,
        case.error,
        [case.code] if case.code else None,
    )
    assert ("access_token" in got) is (case.code is None)


def test_a_refusal_has_all_that_entra_sends(cloud: LocalCloud, http: httpx.Client) -> None:
    """The body has seven fields, the description its lines, and the client's own request id comes back."""
    own_id = "0b7f2a16-93c4-4d58-8e61-f2a7d05c9b43"
    url = f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token"

    body = http.post(url, data={"grant_type": "password"}, headers={"client-request-id": own_id}).json()

    assert list(body) == [
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    ]
    assert body["correlation_id"] == own_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    assert body["error_uri"].endswith("/error?code=70003")
    first, *others = body["error_description"].split("\r\n")
    assert first.startswith("AADSTS70003: ")
    assert others == [
        f"Trace ID: {body['trace_id']}",
        f"Correlation ID: {own_id}",
        f"Timestamp: {body['timestamp']}",
    ]


def test_the_token_endpoint_takes_post_alone(cloud: LocalCloud, http: httpx.Client) -> None:
    """Another method is answered 405 with the one that would do."""
    answer = http.get(f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_an_api_that_wants_v1_gets_what_was_asked_as_audience(
    cloud: LocalCloud, http: httpx.Client, clock: Clock, client_secret: str
) -> None:
    """v1.0: `aud` is the resource to the letter, the double slash included; roles only those granted."""
    claims = claims_of(ask(http, cloud, client_secret=client_secret, scope=f"{GRAPH}//.default"))

    principal = cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID).object_id
    issuer = f"https://sts.windows.net/{TENANT_ID}/"
    assert {name: value for name, value in claims.items() if name not in {"aio", "uti"}} == {
        "ver": "1.0",
        "aud": f"{GRAPH}/",
        "iss": issuer,
        "idp": issuer,
        "appid": CLIENT_ID,
        "appidacr": "1",
        "idtyp": "app",
        "oid": principal,
        "sub": principal,
        "tid": TENANT_ID,
        "roles": ["User.Read.All"],
        "iat": int(clock()) - 300,
        "nbf": int(clock()) - 300,
        "exp": int(clock()) + 3600,
    }


def test_an_api_that_wants_v2_gets_its_own_id_as_audience(
    cloud: LocalCloud, http: httpx.Client, client_secret: str
) -> None:
    """v2.0: `aud` is the API's app id however it was asked for, `azp` for `appid`, and no `roles` without grant."""
    claims = claims_of(ask(http, cloud, client_secret=client_secret, scope=f"{ORDERS}/.default"))

    assert (claims["ver"], claims["aud"], claims["azp"], claims["azpacr"]) == ("2.0", ORDERS_ID, CLIENT_ID, "1")
    assert claims["iss"] == f"{cloud.authority}/{TENANT_ID}/v2.0"
    assert not claims.keys() & {"roles", "appid", "idtyp", "idp", "xms_cc"}


def test_who_handles_challenges_gets_a_token_of_a_day(
    cloud: LocalCloud, http: httpx.Client, clock: Clock, client_secret: str
) -> None:
    """`xms_cc` comes back as a claim: the resource reads from it what the client can handle; `refresh_in` beside it."""
    asked = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'

    answer = ask(http, cloud, client_secret=client_secret, claims=asked)

    claims = claims_of(answer)
    assert (claims["xms_cc"], claims["exp"]) == (["cp1"], int(clock()) + 86400)
    assert (answer.json()["expires_in"], answer.json()["refresh_in"]) == (86399, 43200)
    assert cloud.entra.requests[-1].claims == asked


@pytest.mark.parametrize(("age", "nbf_age"), [(10, 10), (3600, 300), (-10, 0)], ids=["just now", "long ago", "to come"])
def test_a_challenge_is_answered_in_the_token(
    cloud: LocalCloud, http: httpx.Client, clock: Clock, client_secret: str, age: int, nbf_age: int
) -> None:
    """A token for a challenge names the contexts that it demanded, and is no older than `nbf`, nor from the future."""
    now = int(clock())
    asked = {"access_token": {"acrs": {"essential": True, "value": "c1"}, "nbf": {"value": str(now - age)}}}

    claims = claims_of(ask(http, cloud, client_secret=client_secret, claims=json.dumps(asked)))

    assert (claims["acrs"], claims["nbf"], claims["exp"]) == (["c1"], now - nbf_age, now + 3600)


def test_lifetime_and_refresh_in_are_entras(cloud: LocalCloud, http: httpx.Client, client_secret: str) -> None:
    """Ordinary app tokens live an hour and have no `refresh_in`; both can be set for tests of longer ones."""
    ordinary = ask(http, cloud, client_secret=client_secret).json()
    cloud.entra.token_lifetime, cloud.entra.refresh_in = 86400, 43200
    try:
        long = ask(http, cloud, client_secret=client_secret).json()
    finally:
        cloud.entra.token_lifetime, cloud.entra.refresh_in = 3600, None

    assert (ordinary["expires_in"], ordinary["ext_expires_in"], "refresh_in" in ordinary) == (3599, 3599, False)
    assert (long["expires_in"], long["refresh_in"]) == (86399, 43200)


def test_an_expired_secret_is_told_apart_from_a_wrong_one(cloud: LocalCloud, http: httpx.Client, clock: Clock) -> None:
    """The right value of a secret that has ended is 7000222: the operator must make a new one, not look for a typo."""
    secret = cloud.directory.add_secret(CLIENT_ID, lifetime=60)
    clock.moment += 61

    answer = ask(http, cloud, client_secret=secret)

    assert (answer.status_code, answer.json()["error_codes"]) == (401, [7000222])


def test_a_disabled_application_gets_nothing(cloud: LocalCloud, http: httpx.Client, client_secret: str) -> None:
    """Disabling its service principal stops new tokens at once."""
    principal = cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID).object_id
    cloud.directory.set_enabled(principal, enabled=False)
    try:
        answer = ask(http, cloud, client_secret=client_secret)
    finally:
        cloud.directory.set_enabled(principal, enabled=True)

    assert (answer.status_code, answer.json()["error_codes"]) == (400, [7000112])


def test_an_application_needs_the_consent_of_the_tenant(cloud: LocalCloud, http: httpx.Client) -> None:
    """Without a service principal in the tenant there is no token, with one there is."""
    client_id = "4e8b6d20-17c9-4af5-b3d2-86f0a9e7c514"
    cloud.directory.add_application(
        Application(client_id, object_id="91d3c7a5-e604-4b28-9f7d-05ac8e16b2f3", name="new")
    )
    secret = cloud.directory.add_secret(client_id, lifetime=600)

    before = ask(http, cloud, client_id=client_id, client_secret=secret)
    cloud.directory.consent(client_id, tenant_id=TENANT_ID)
    after = ask(http, cloud, client_id=client_id, client_secret=secret)

    assert (before.status_code, before.json()["error_codes"], after.status_code) == (401, [7000229], 200)


def test_an_api_may_demand_an_assignment(cloud: LocalCloud, http: httpx.Client, client_secret: str) -> None:
    """Where the API asks for it, a client without any of its roles gets no token at all."""
    payroll = "api://payroll"
    cloud.directory.add_api(
        Api(
            "6c2f9b81-d3e7-4054-a8c6-1b7d95e3f042",
            name="Payroll",
            identifier_uris=frozenset({payroll}),
            roles=frozenset({"Pay"}),
            assignment_required=True,
        )
    )
    principal = cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID)

    before = ask(http, cloud, client_secret=client_secret, scope=f"{payroll}/.default")
    cloud.directory.grant(principal.object_id, resource=payroll, roles=frozenset({"Pay"}))
    after = ask(http, cloud, client_secret=client_secret, scope=f"{payroll}/.default")

    assert (before.status_code, before.json()["error_codes"]) == (400, [501051])
    assert claims_of(after)["roles"] == ["Pay"]


def test_every_token_request_is_counted_and_no_secret_is_kept(
    cloud: LocalCloud, http: httpx.Client, client_secret: str
) -> None:
    """Tests assert calls to Entra by tenant, client and scope, refused ones included; over HTTP too."""
    asked = (TENANT_ID, CLIENT_ID, "api://counted/.default")
    for _ in range(3):
        ask(http, cloud, client_secret=client_secret, scope=asked[2])

    listed = httpx.get(f"{cloud.control}/requests/entra").json()["requests"]

    assert cloud.entra.counts()[asked] == 3
    assert {"tenant": asked[0], "client_id": asked[1], "scope": asked[2], "count": 3} in listed
    assert cloud.entra.requests[-1].code == 500011
    assert client_secret not in repr(cloud.entra.requests)


@pytest.mark.parametrize(
    ("scope", "seconds", "altered", "good"),
    [
        (f"{KEY_VAULT}/.default", 0, False, True),
        (f"{KEY_VAULT}/.default", 3601, False, False),
        (f"{KEY_VAULT}/.default", -301, False, False),
        (f"{KEY_VAULT}/.default", 0, True, False),
        (f"{GRAPH}/.default", 0, False, False),
    ],
    ids=["good", "expired", "not yet valid", "altered", "for another API"],
)
def test_a_service_takes_a_token_that_is_meant_for_it_and_valid_now(
    cloud: LocalCloud,
    http: httpx.Client,
    clock: Clock,
    client_secret: str,
    *,
    scope: str,
    seconds: int,
    altered: bool,
    good: bool,
) -> None:
    """`authenticate` is what Key Vault does with a bearer token: it answers who calls, or nothing."""
    token: str = ask(http, cloud, client_secret=client_secret, scope=scope).json()["access_token"]
    if altered:
        header, _, signature = token.split(".")
        token = ".".join([header, base64.urlsafe_b64encode(b'{"oid":"x"}').decode().rstrip("="), signature])
    clock.moment += seconds
    try:
        caller = cloud.tokens.authenticate(token, audience=KEY_VAULT)
    finally:
        clock.moment -= seconds

    assert caller == (cloud.directory.consent(CLIENT_ID, tenant_id=TENANT_ID).object_id if good else None)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"expires_in": math.nan}, '"expires_in": NaN'),
        ({"expires_in": 1e20}, '"expires_in": 1e+20'),
        ({"expires_in": True, "scope": "api://another/.default"}, '"expires_in": true'),
        ({"token_type": "pop", "access_token": "opaque"}, '"access_token": "opaque"'),
    ],
    ids=str,
)
def test_an_answer_can_say_anything(
    cloud: LocalCloud, http: httpx.Client, client_secret: str, answer: dict[str, object], shown: str
) -> None:
    """A forged member stands in the answer as it was given, also where JSON has no such number."""
    cloud.entra.forgery = Forgery(answer=answer)
    try:
        text = ask(http, cloud, client_secret=client_secret).text
    finally:
        cloud.entra.forgery = HONEST

    assert shown in text


def test_a_token_can_lie(cloud: LocalCloud, http: httpx.Client, clock: Clock, client_secret: str) -> None:
    """Forged claims are signed like true ones, None takes one out, and a Date of its own replaces the cloud's."""
    wrong = {"tid": "another", "appid": "another", "aud": GRAPH_ID, "roles": None}
    date = formatdate(clock() - 600, usegmt=True)
    cloud.entra.forgery = Forgery(claims=wrong, answer={"expires_in": None}, headers={"Date": date})
    try:
        forged = ask(http, cloud, client_secret=client_secret)
    finally:
        cloud.entra.forgery = HONEST
    honest = ask(http, cloud, client_secret=client_secret)

    claims = cloud.tokens.key.verify(forged.json()["access_token"]) or {}
    assert (claims["tid"], claims["appid"], claims["aud"], "roles" in claims) == ("another", "another", GRAPH_ID, False)
    assert "expires_in" not in forged.json()
    assert (forged.headers.get_list("date"), honest.headers.get_list("date")) == (
        [date],
        [formatdate(clock(), usegmt=True)],
    )
    assert (claims_of(honest)["tid"], honest.json()["expires_in"]) == (TENANT_ID, 3599)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"client_id": "00000000-0000-0000-0000-000000000002"}, "was not found in the directory 'Contoso'"),
        ({"scope": "api://nobody/.default"}, "was not found in the tenant named Contoso."),
    ],
    ids=["700016", "500011"],
)
def test_a_refusal_names_the_tenant_as_people_do(
    cloud: LocalCloud, http: httpx.Client, client_secret: str, changes: dict[str, str], text: str
) -> None:
    """FND-F13: the texts of these two numbers have the display name of the tenant."""
    answer = ask(http, cloud, **{"client_secret": client_secret, **changes})

    assert text in answer.json()["error_description"]


@pytest.mark.parametrize("version", ["", "/v2.0"])
def test_discovery_has_what_openid_connect_requires(cloud: LocalCloud, http: httpx.Client, version: str) -> None:
    """FND-F9: every field that OpenID Connect Discovery 1.0 section 3 requires, and those of Entra's own."""
    url = f"{cloud.authority}/{TENANT_ID}{version}/.well-known/openid-configuration"

    document = http.get(url).json()

    assert document.keys() >= {
        "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported",
        "subject_types_supported", "id_token_signing_alg_values_supported", "response_modes_supported",
        "scopes_supported", "claims_supported", "tenant_region_scope", "cloud_instance_name", "cloud_graph_host_name",
        "msgraph_host",
    }  # fmt: skip
    assert document["cloud_instance_name"] == cloud.authority.removeprefix("https://")


@pytest.mark.parametrize("version", ["", "/v2.0"])
def test_discovery_of_an_unknown_tenant_has_a_word_of_its_own(
    cloud: LocalCloud, http: httpx.Client, version: str
) -> None:
    """FND-F10: 90002 is `invalid_tenant` here, and `invalid_request` at the token endpoint."""
    unknown = "00000000-0000-0000-0000-000000000001"

    answer = http.get(f"{cloud.authority}/{unknown}{version}/.well-known/openid-configuration")

    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (
        400,
        "invalid_tenant",
        [90002],
    )
