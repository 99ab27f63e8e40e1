"""One stock client in a process of its own: a resource per line of stdin, and for each a line of JSON with what came.

It knows of vend what its environment says, as a service does, and nothing of vend can be imported here. Every line has
a client of its own, so that none answers from its own cache.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

type Token = tuple[str, int]


def azure_identity() -> Callable[[str], Token]:
    """Ask by azure-identity's synchronous half, which has MSAL ask."""
    from azure.identity import ManagedIdentityCredential

    def ask(resource: str) -> Token:
        with ManagedIdentityCredential() as credential:
            token = credential.get_token(f"{resource}/.default")
        return token.token, token.expires_on

    return ask


def azure_identity_aio() -> Callable[[str], Token]:
    """Ask by azure-identity's asynchronous half, which asks by itself."""
    from azure.identity.aio import ManagedIdentityCredential

    async def ask(resource: str) -> Token:
        async with ManagedIdentityCredential() as credential:
            token = await credential.get_token(f"{resource}/.default")
        return token.token, token.expires_on

    return lambda resource: asyncio.run(ask(resource))


def msal() -> Callable[[str], Token]:
    """Ask by MSAL, which repeats nothing."""
    import requests
    from msal import ManagedIdentityClient, SystemAssignedManagedIdentity

    def ask(resource: str) -> Token:
        with requests.Session() as session:
            client = ManagedIdentityClient(SystemAssignedManagedIdentity(), http_client=session)
            answer = client.acquire_token_for_client(resource=resource)
        if "error" in answer:
            raise LookupError(answer["error"], answer["error_description"])
        return answer["access_token"], int(time.time()) + answer["expires_in"]

    return ask


def authlib(method: str) -> Callable[[str], Token]:
    """Ask by Authlib, which proves itself by one of two methods."""
    from authlib.integrations.requests_client import OAuth2Session

    def ask(resource: str) -> Token:
        with OAuth2Session(
            os.environ["VEND_CALLER"],
            os.environ["VEND_KEY"],
            token_endpoint_auth_method=method,
            scope=f"{resource}/.default",
        ) as session:
            token = session.fetch_token(os.environ["TOKEN_URL"], grant_type="client_credentials")
        return token["access_token"], token["expires_at"]

    return ask


def requests_oauthlib() -> Callable[[str], Token]:
    """Ask by requests-oauthlib."""
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    def ask(resource: str) -> Token:
        client = BackendApplicationClient(os.environ["VEND_CALLER"], scope=f"{resource}/.default")
        with OAuth2Session(client=client) as session:
            token = session.fetch_token(os.environ["TOKEN_URL"], client_secret=os.environ["VEND_KEY"])
        return token["access_token"], int(token["expires_at"])

    return ask


def workload_identity() -> Callable[[str], Token]:
    """Ask by azure-identity's synchronous half, with an identity token in a file."""
    from azure.identity import WorkloadIdentityCredential

    def ask(resource: str) -> Token:
        with WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
            token = credential.get_token(f"{resource}/.default")
        return token.token, token.expires_on

    return ask


def workload_identity_aio() -> Callable[[str], Token]:
    """Ask by azure-identity's asynchronous half, with an identity token in a file."""
    from azure.identity.aio import WorkloadIdentityCredential

    async def ask(resource: str) -> Token:
        async with WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
            token = await credential.get_token(f"{resource}/.default")
        return token.token, token.expires_on

    return lambda resource: asyncio.run(ask(resource))


def msal_assertion() -> Callable[[str], Token]:
    """Ask by MSAL, with an identity token as the client assertion."""
    import msal

    def ask(resource: str) -> Token:
        client = msal.ConfidentialClientApplication(
            os.environ["AZURE_CLIENT_ID"],
            oidc_authority=f"{os.environ['AZURE_AUTHORITY_HOST']}/{os.environ['AZURE_TENANT_ID']}/v2.0",
            client_credential={"client_assertion": Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text},
            instance_discovery=False,
        )
        answer = client.acquire_token_for_client([f"{resource}/.default"])
        if "error" in answer:
            raise LookupError(answer["error"], answer["error_description"])
        return answer["access_token"], int(time.time()) + answer["expires_in"]

    return ask


def authlib_key() -> Callable[[str], Token]:
    """Ask by Authlib, with a key pair of the caller's own."""
    from authlib.integrations.requests_client import OAuth2Session
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

    def ask(resource: str) -> Token:
        key = Path(os.environ["PRIVATE_KEY_FILE"]).read_text()
        with OAuth2Session(
            os.environ["AZURE_CLIENT_ID"],
            key,
            token_endpoint_auth_method=PrivateKeyJWT(os.environ["TOKEN_URL"]),
            scope=f"{resource}/.default",
        ) as session:
            token = session.fetch_token(os.environ["TOKEN_URL"], grant_type="client_credentials")
        return token["access_token"], token["expires_at"]

    return ask


def requests_bearer() -> Callable[[str], Token]:
    """Ask by requests, with a function key that is nobody's and an identity token that says who."""
    import requests

    def ask(resource: str) -> Token:
        token = Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
        answer = requests.post(
            os.environ["TOKEN_URL"],
            data={"grant_type": "client_credentials", "scope": f"{resource}/.default"},
            headers={"x-functions-key": os.environ["VEND_KEY"], "Authorization": f"Bearer {token}"},
            timeout=30,
        )
        if answer.status_code != 200:
            raise LookupError(answer.text)
        return answer.json()["access_token"], answer.json()["expires_on"]

    return ask


CLIENTS = {
    "workload-identity": workload_identity,
    "workload-identity-aio": workload_identity_aio,
    "msal-assertion": msal_assertion,
    "authlib-key": authlib_key,
    "requests-bearer": requests_bearer,
    "azure-identity": azure_identity,
    "azure-identity-aio": azure_identity_aio,
    "msal": msal,
    "authlib-basic": lambda: authlib("client_secret_basic"),
    "authlib-post": lambda: authlib("client_secret_post"),
    "requests-oauthlib": requests_oauthlib,
}

if __name__ == "__main__":
    ask = CLIENTS[sys.argv[1]]()
    for line in sys.stdin:
        try:
            secret, expires_on = ask(line.strip())
            told = {"token": secret, "expires_on": expires_on}
        except Exception as error:  # noqa: BLE001  # whatever a client raises is what is looked at
            told = {"raised": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
