"""vend's client assertions beside those that Microsoft's libraries send for the same certificate."""

import datetime as dt
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
from cryptography.hazmat.primitives import hashes

from shared.core.entra.assertion import unsigned_assertion
from shared.core.entra.jws import compact
from shared.core.entra.key_pair import KeyPair, read_key_pair
from tests.clients.test_stock_clients import HERE, NODE
from tests.pki import Signed, chain, pem, pfx

pytestmark = pytest.mark.slow

AUTHORITY = "https://login.microsoftonline.com/7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60"
ENDPOINT = f"{AUTHORITY}/oauth2/v2.0/token"
CLIENT = "3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835"
TIMES = {"iat", "nbf", "exp"}
TEN_MINUTES = 600


@dataclass(frozen=True)
class Answer:
    """What MSAL for Python takes as an answer."""

    text: str
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Recorder:
    """The network of MSAL for Python: it keeps the forms that are sent."""

    def __init__(self) -> None:
        self.forms: list[Mapping[str, Any]] = []

    def get(self, url: str, **_: object) -> Answer:
        """Return the metadata of a tenant."""
        assert url.startswith(AUTHORITY)
        metadata = {"issuer": f"{AUTHORITY}/v2.0", "authorization_endpoint": AUTHORITY, "token_endpoint": ENDPOINT}
        return Answer(json.dumps(metadata))

    def post(self, url: str, *, data: Mapping[str, Any], **_: object) -> Answer:
        """Return a token."""
        assert url == ENDPOINT
        self.forms.append(data)
        return Answer('{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}')

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def certified() -> tuple[Signed, Signed, Signed]:
    """A certificate with those above it."""
    now = dt.datetime.now(dt.UTC)
    return chain(starts=now - dt.timedelta(days=1), ends=now + dt.timedelta(days=1))


def ours(pair: KeyPair, *, send_x5c: bool) -> str:
    """Return the assertion that vend sends."""
    now = dt.datetime.now(dt.UTC).timestamp()
    unsigned = unsigned_assertion(
        client_id=CLIENT, audience=ENDPOINT, certificate=pair.certificate, send_x5c=send_x5c, jti="an-id", now=now
    )
    return compact(unsigned, pair.sign(unsigned))


def msal_python(held: tuple[Signed, ...], folder: Path, *, send_x5c: bool) -> str:
    """Return the assertion that MSAL for Python sends; its `x5c` is one certificate, whatever is above that."""
    (folder / "vend.pfx").write_bytes(pfx(held[0].key, held[0].certificate))
    recorder = Recorder()
    app = msal.ConfidentialClientApplication(
        CLIENT,
        authority=AUTHORITY,
        client_credential={"private_key_pfx_path": str(folder / "vend.pfx"), "public_certificate": send_x5c},
        http_client=recorder,
        instance_discovery=False,
    )
    assert "access_token" in app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    (form,) = recorder.forms
    sent = form["client_assertion"]
    return sent.decode() if isinstance(sent, bytes) else str(sent)


def msal_node(held: tuple[Signed, ...], *, send_x5c: bool) -> str:
    """Return the assertion that MSAL for Node sends."""
    certificate: dict[str, str] = {
        "privateKey": pem(held[0].key).decode(),
        "thumbprintSha256": held[0].certificate.fingerprint(hashes.SHA256()).hex(),
    }
    if send_x5c:
        certificate["x5c"] = pem(*(each.certificate for each in held)).decode()
    about = json.dumps({"authority": AUTHORITY, "clientId": CLIENT, "clientCertificate": certificate})
    command = [str(NODE), str(HERE / "node" / "msal_assertion.mjs")]
    return subprocess.run(
        command, input=f"{about}\n", cwd="/", text=True, capture_output=True, check=True
    ).stdout.strip()


def taken_apart(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims without id, times and padding; it lives for ten minutes, give or take a second."""
    parts = jwt.decode_complete(assertion, options={"verify_signature": False})
    header, claims = parts["header"], parts["payload"]
    header["x5t#S256"] = header["x5t#S256"].rstrip("=")
    if "x5c" in header:
        header["x5c"] = ["".join(each.split()) for each in header["x5c"]]
    assert claims.pop("jti")
    assert all(abs(claims["exp"] - claims[name] - TEN_MINUTES) <= 1 for name in ("iat", "nbf") if name in claims)
    return header, {name: value for name, value in claims.items() if name not in TIMES}


@pytest.mark.parametrize("send_x5c", [False, True])
@pytest.mark.parametrize("others", [0, 2], ids=["alone", "with a chain"])
def test_an_assertion_is_that_of_msal(
    certified: tuple[Signed, ...], tmp_path: Path, *, send_x5c: bool, others: int
) -> None:
    """The same header and claims for the same certificate, and a signature that is good."""
    held = certified[: 1 + others]
    pair = read_key_pair(pem(held[0].key, *(each.certificate for each in reversed(held))), name="vend")
    assertion = ours(pair, send_x5c=send_x5c)
    mine = taken_apart(assertion)
    assert mine == taken_apart(msal_node(held, send_x5c=send_x5c))
    if not (others and send_x5c):  # MSAL for Python leaves those above the certificate out
        assert mine == taken_apart(msal_python(held, tmp_path, send_x5c=send_x5c))
    key = held[0].certificate.public_key()
    jwt.decode(assertion, key, algorithms=["PS256"], audience=ENDPOINT)  # type: ignore[arg-type]  # it is RSA
