"""The commands in this process; through the launcher where the way there is what matters."""

import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from typer.testing import CliRunner, Result

from cli.__main__ import app
from emulator.blob.app import RESOURCE as STORAGE
from emulator.cloud import LocalCloud
from emulator.host.keys import KeyFile
from emulator.network.serve import HOST, Background
from emulator.seed import APP_RESOURCE_ID, CONTAINER, OPERATOR_CLIENT_ID, TENANT_ID
from emulator.tour.site import write_configuration, write_keys
from emulator.witness import Belongs, Misdirected, Witness
from shared.core.origins import origin_of
from tests.cli.desk import COMMENT, OLD, Desk, Secrets
from tests.cli.key_host import KeyHost, Workers
from tests.cli.wire import Wire

ROOT = Path(__file__).parents[2]
KEY = "C4N4RY-the-function-key-of-billing"
SCOPE = "https://graph.microsoft.com/.default"

type Run = Callable[..., Result]
type Serve = Callable[[ASGIApp], str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command, with nothing in the environment that it heeds but what is given."""
    for name in (*(name for name in os.environ if name.startswith("VEND_")), "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, obj: object = None, **environ: str) -> Result:
        return CliRunner().invoke(app, words, env=environ, prog_name="./vend", obj=obj)

    return run


def launch(*words: str, environ: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one command by the launcher."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VEND_")}
    return subprocess.run(
        [ROOT / "vend", *words], env=inherited | environ, cwd=cwd, capture_output=True, text=True, check=False
    )


def login_as(cloud: LocalCloud, client_id: str, folder: Path) -> None:
    """Put an `az` into a folder that has logged in at the local Entra as a service principal, and tells its tokens."""
    lines = ["#!/bin/sh", 'case "$*" in']
    for resource in (cloud.management_url, STORAGE):
        told = {"accessToken": token_of(cloud, client_id, resource), "expires_on": int(time.time()) + 3600}
        lines.append(f"'account get-access-token --output json --resource {resource}') echo '{json.dumps(told)}' ;;")
    lines += ["*) exit 1 ;;", "esac"]
    folder.mkdir()
    (folder / "az").write_text("\n".join(lines))
    (folder / "az").chmod(0o700)


def token_of(cloud: LocalCloud, client_id: str, resource: str) -> str:
    """Get a token as `az login --service-principal` does."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": cloud.directory.add_secret(client_id, lifetime=600),
        "scope": f"{resource}/.default",
    }
    tls = ssl.create_default_context(cafile=str(cloud.ca_file))
    url = f"{cloud.authority}/{TENANT_ID}/oauth2/v2.0/token"
    return str(httpx.post(url, data=form, verify=tls, trust_env=False).json()["access_token"])


class Oracle:
    """Answers every request with what it was told to, and remembers the last one."""

    def __init__(self) -> None:
        self.answer = Response()
        self.headers: Mapping[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await self.answer(scope, receive, send)


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Serve applications in the place of vend, each by its address: none may be sent a token or a proof for Entra."""
    found: list[Misdirected] = []
    own: Belongs = {"x-functions-key": lambda *_: True}
    with Background() as background:
        yield (
            lambda app: f"http://{HOST}:{background.serve(Witness(app, part='app', belongs=own, report=found.append))}"
        )
    assert found == []


@pytest.fixture(scope="session")
def oracle(serve: Serve) -> tuple[Oracle, str]:
    """A server that stands where vend would, and its address."""
    serving = Oracle()
    return serving, serve(serving)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Every header with a key or a token that leaves by httpx, and its origin."""
    left: Secrets = []
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def record(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        origin = origin_of(str(request.url))
        left.extend((name, origin) for name in ("authorization", "x-functions-key") if name in request.headers)
        return await send(transport, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", record)
    return left


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, secrets: Secrets) -> Wire:  # noqa: ARG001  # theirs is the outer one
    """What happens before a request leaves by httpx."""
    made, send = Wire(), httpx.AsyncHTTPTransport.handle_async_request

    async def leave(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        await made.leave(request)
        return await send(transport, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", leave)
    return made


@pytest.fixture(params=["Azure", pytest.param("make run", marks=pytest.mark.nightly)])
def desk(
    request: pytest.FixtureRequest,
    run: Run,
    serve: Serve,
    cloud: LocalCloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secrets: Secrets,
) -> Desk:
    """The desk of somebody who runs everything locally, and of somebody whose app is in Azure."""
    in_azure = request.param == "Azure"
    folder, elsewhere = tmp_path / "documents", tmp_path / "host"
    for each in (folder, elsewhere):
        each.mkdir()
    write_configuration(cloud, folder, {"billing": OLD})
    (folder / "callers.toml").write_text(
        (folder / "callers.toml").read_text().replace("[callers", f"{COMMENT}[callers")
    )
    file = (elsewhere if in_azure else folder) / "host.keys.json"
    write_keys(file, {"billing": OLD})
    host = KeyHost(KeyFile(file), Workers(lambda: made.content))
    environ = {"VEND_CONFIG": str(folder / "vend.toml"), "VEND_URL": serve(host.app)}
    if in_azure:
        (folder / "billing.key").unlink()
        cloud.management.add_site(APP_RESOURCE_ID, KeyFile(file))
        local = (folder / "callers.toml").read_text()
        (folder / "callers.toml").unlink()
        blob = f"{cloud.blob_url}/{CONTAINER}/callers.toml"
        config = (folder / "vend.toml").read_text().replace(str(folder / "callers.toml"), blob)
        (folder / "vend.toml").write_text(config)
        cloud.blob.write(CONTAINER, "callers.toml", local.encode())
        login_as(cloud, OPERATOR_CLIENT_ID, tmp_path / "bin")
        monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
        environ["VEND_RESOURCE_ID"] = APP_RESOURCE_ID
    made = Desk(run, cloud, folder, host, KeyFile(file), environ, secrets, in_azure)
    made.document = made.document.replace("[callers", f"{COMMENT}[callers")
    return made
