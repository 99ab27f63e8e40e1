"""What users would otherwise pick, set up by its public options: a scope in, a token out.

The libraries prove themselves with a client secret, which is the least work for them.
"""

import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msal
import requests
from azure.core.pipeline.transport import AioHttpTransport, RequestsTransport
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AioClientSecretCredential

from benchmarks.elsewhere import Address
from emulator.network.serve import Background
from emulator.seed import CLIENT_ID, TENANT_ID


class Tally:
    """Counts requests to Entra for a token, refused ones too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self, method: str | None) -> None:
        """Count one that is sent, unless it only looks for addresses."""
        if method == "POST":
            with self._lock:
                self.count += 1


class _Session(requests.Session):
    def __init__(self, tally: Tally, ca_file: Path) -> None:
        super().__init__()
        self._tally = tally
        self.verify = str(ca_file)
        self.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401  # as theirs
        self._tally.add(request.method)
        return super().send(request, **options)


class _AioTransport(AioHttpTransport):  # type: ignore[misc]  # azure.core gives it out untyped
    def __init__(self, tally: Tally, ca_file: Path) -> None:
        super().__init__(connection_verify=str(ca_file))
        self._tally = tally

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401  # as theirs
        self._tally.add(request.method)
        return await super().send(request, **options)


def msal_app(address: Address, stack: ExitStack, *, tally: Tally) -> Callable[[str], str]:
    """Keep one application object, as an app does; an error is a KeyError."""
    app = msal.ConfidentialClientApplication(
        CLIENT_ID,
        authority=f"{address.authority}/{TENANT_ID}",
        client_credential=address.secret,
        instance_discovery=False,
        http_client=stack.enter_context(_Session(tally, address.ca_file)),
    )

    def get(scope: str) -> str:
        token: str = app.acquire_token_for_client([scope])["access_token"]
        return token

    return get


def azure(address: Address, stack: ExitStack, *, tally: Tally) -> Callable[[str], object]:
    """Keep one blocking credential."""
    transport = RequestsTransport(session=_Session(tally, address.ca_file), connection_verify=str(address.ca_file))
    credential = ClientSecretCredential(
        TENANT_ID,
        CLIENT_ID,
        address.secret,
        authority=address.authority,
        disable_instance_discovery=True,
        transport=transport,
    )
    return stack.enter_context(credential).get_token


def azure_aio(
    address: Address, stack: ExitStack, *, tally: Tally, loop: Background
) -> Callable[[str], Awaitable[object]]:
    """Keep one async credential, which is closed on its loop."""
    credential = AioClientSecretCredential(
        TENANT_ID,
        CLIENT_ID,
        address.secret,
        authority=address.authority,
        disable_instance_discovery=True,
        transport=_AioTransport(tally, address.ca_file),
    )
    stack.callback(lambda: loop.run(credential.close()))
    return credential.get_token
