import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import msal
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential
from cryptography.hazmat.primitives import hashes

from emulator.cloud import LocalCloud
from emulator.seed import CLIENT_ID, GRAPH, ORDERS, ORDERS_ID, TENANT_ID
from tests.emulator.client import KeyPair

SCOPE = f"{GRAPH}/.default"


def verified(token: str, *, cloud: LocalCloud, trust: ssl.SSLContext, audience: str = GRAPH) -> dict[str, Any]:
    """Verify a token as an API does: by the keys that Entra publishes."""
    keys = jwt.PyJWKClient(f"{cloud.authority}/{TENANT_ID}/discovery/v2.0/keys", ssl_context=trust)
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience)


@contextmanager
def msal_client(cloud: LocalCloud, credential: str | dict[str, str]) -> Iterator[msal.ConfidentialClientApplication]:
    """Point MSAL at the local cloud with its public options alone."""
    with requests.Session() as session:
        session.verify = str(cloud.ca_file)
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        yield msal.ConfidentialClientApplication(
            CLIENT_ID,
            authority=f"{cloud.authority}/{TENANT_ID}",
            client_credential=credential,
            instance_discovery=False,
            http_client=session,
        )


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_msal_gets_a_token_by_certificate(
    algorithm: str, cloud: LocalCloud, trust: ssl.SSLContext, registered: KeyPair
) -> None:
    """MSAL Python proves itself by PS256 and, given a SHA-1 thumbprint, by RS256; both are taken."""
    credential = {"private_key": registered.private_pem, "public_certificate": registered.public_pem}
    if algorithm == "RS256":
        credential = {
            "private_key": registered.private_pem,
            "thumbprint": registered.certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - what RS256 goes with
        }
    with msal_client(cloud, credential) as client:
        answer = client.acquire_token_for_client([SCOPE])

    claims = verified(answer["access_token"], cloud=cloud, trust=trust)
    assert (claims["appid"], claims["appidacr"], claims["roles"]) == (CLIENT_ID, "2", ["User.Read.All"])
    proof = cloud.entra.requests[-1].proof
    assert proof is not None
    assert proof.algorithm == algorithm


def test_msal_gets_a_token_by_secret_and_reads_a_refusal(
    cloud: LocalCloud, trust: ssl.SSLContext, client_secret: str
) -> None:
    """A v2.0 token by secret; and the error of an unknown resource arrives with its number."""
    with msal_client(cloud, client_secret) as client:
        answer = client.acquire_token_for_client([f"{ORDERS}/.default"])
        refusal = client.acquire_token_for_client(["api://nobody/.default"])

    assert verified(answer["access_token"], cloud=cloud, trust=trust, audience=ORDERS_ID)["azpacr"] == "1"
    assert (refusal["error"], refusal["error_codes"]) == ("invalid_resource", [500011])


def test_azure_identity_gets_a_token_by_certificate(
    cloud: LocalCloud, trust: ssl.SSLContext, registered: KeyPair
) -> None:
    """CertificateCredential works against the local cloud with public options alone."""
    pem = (registered.private_pem + registered.public_pem).encode()
    with CertificateCredential(
        TENANT_ID,
        CLIENT_ID,
        certificate_data=pem,
        authority=cloud.authority,
        disable_instance_discovery=True,
        connection_verify=str(cloud.ca_file),
    ) as credential:
        token = credential.get_token(SCOPE).token

    assert verified(token, cloud=cloud, trust=trust)["tid"] == TENANT_ID


def test_azure_identity_gets_a_token_by_secret_and_reports_a_refusal(
    cloud: LocalCloud, trust: ssl.SSLContext, client_secret: str
) -> None:
    """ClientSecretCredential gets a token; a wrong secret is its authentication error with Entra's number."""
    options = {
        "authority": cloud.authority,
        "disable_instance_discovery": True,
        "connection_verify": str(cloud.ca_file),
    }
    with ClientSecretCredential(TENANT_ID, CLIENT_ID, client_secret, **options) as credential:
        token = credential.get_token(SCOPE).token
    with (
        ClientSecretCredential(TENANT_ID, CLIENT_ID, "wrong", **options) as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215"),
    ):
        credential.get_token(SCOPE)

    assert verified(token, cloud=cloud, trust=trust)["appid"] == CLIENT_ID


@pytest.mark.parametrize(("version", "scope"), [("", SCOPE), ("/v2.0", f"{ORDERS}/.default")], ids=["v1", "v2"])
def test_discovery_names_the_issuer_that_the_tokens_carry(
    version: str, scope: str, cloud: LocalCloud, http: httpx.Client, client_secret: str
) -> None:
    """`issuer` of either document is the `iss` of that version's tokens, and its keys are at the address it names."""
    base = f"{cloud.authority}/{TENANT_ID}"
    document = http.get(f"{base}{version}/.well-known/openid-configuration").json()
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": client_secret, "scope": scope}

    token = http.post(f"{base}/oauth2/v2.0/token", data=form).json()["access_token"]

    assert jwt.decode(token, options={"verify_signature": False})["iss"] == document["issuer"]
    kids = [key["kid"] for key in http.get(document["jwks_uri"]).json()["keys"]]
    assert kids == [jwt.get_unverified_header(token)["kid"]]
