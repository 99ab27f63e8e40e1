"""A site: the local cloud and the app, which runs against it in a Functions host of its own process."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from emulator.cloud import LocalCloud
from emulator.host.keys import KeyFile, Keys, generate
from emulator.seed import (
    APP_RESOURCE_ID,
    CERTIFICATE,
    CLIENT_ID,
    GRAPH,
    IDENTITY_CLIENT_ID,
    OBJECT_ID,
    READER_CLIENT_ID,
    TENANT_ID,
    VEND,
    VEND_ID,
)

ROOT = Path(__file__).parents[2]
PORTS = {
    "entra": 8443, "vault": 8444, "graph": 8445, "management": 8446, "blob": 8447, "issuer": 8448, "identity": 8442,
    "control": 8440, "app": 7443,
}  # fmt: skip
APP_PORT = 7071
TOKEN_LIFETIME = 86_400
"""Seconds of the identity token in a file; nobody renews it."""
SCOPE = f"{GRAPH}/.default"
CALLER = "billing"
STREAMS = ("users", "groups", "servicePrincipals", "applications")
"""The streams that the sync copies."""
SUBJECT = "system:serviceaccount:billing:billing"
"""Of the identity tokens that prove the caller, too."""
ADMIN = "operator"
"""The name of the administrator, who gets no token."""
SCHEDULES = MappingProxyType(  # the sync less often than deployed: its token would be signed for during the tour
    {"GRAPH_SYNC_SCHEDULE": "0 */15 * * * *", "CERTIFICATE_ROTATION_SCHEDULE": "0 30 * * * *"}
)
ROTATION = f"""\
application_object_id = "{OBJECT_ID}"
application_tenant_id = "{TENANT_ID}"
"""
_ENTRY = f"""\
identity = [{{ issuer = "cluster", subject = "{SUBJECT}" }}]
allow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]"""
SECONDS_TO_START = 30
AT_ONCE = MappingProxyType({"callers_refresh_seconds": 0.2, "callers_must_check_seconds": 0.5})
"""Limits by which an app on one machine reads a changed callers document within a second."""
SECONDS_TO_STOP = 10


class SiteError(Exception):
    """The site did not start; the text names the reason and the file to read."""


def write_configuration(
    cloud: LocalCloud, folder: Path, keys: Mapping[str, str], *, limits: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Write vend.toml, callers.toml, the key files of the callers and an identity token of one.

    Args:
        cloud: supplies the addresses.
        folder: for the files.
        keys: the function key of each caller.
        limits: limits that differ from their defaults.
    """
    knobs = "\n".join(f"{name} = {value}" for name, value in limits.items())
    (folder / "vend.toml").write_text(
        f"""\
cloud = "local"
callers = {_quoted(folder / "callers.toml")}
identity_client_id = "{IDENTITY_CLIENT_ID}"
app_checked_routes = true

[clouds.local]
authority = "{cloud.authority}"
graph = "{cloud.graph_url}"
management = "{cloud.management_url}"
token_exchange_audience = "api://AzureADTokenExchange"
blob = "{cloud.blob_url}"
vault = "{cloud.vault_url}"
database = "localhost"
verify_vault_challenge = false

[network]
ca_file = {_quoted(cloud.ca_file)}

[issuers.cluster]
issuer = "{cloud.issuer_url}"
audience = "{VEND}"
jwks = "{cloud.issuer_url}/.well-known/openid-configuration"

[issuers.entra]
issuer = "{cloud.authority}/{TENANT_ID}/v2.0"
audience = "{VEND_ID}"
jwks = "{cloud.authority}/{TENANT_ID}/v2.0/.well-known/openid-configuration"

[limits]
{knobs}

{_profile("graph", cloud, scope=SCOPE, more=ROTATION)}
{_profile("directory", cloud, client_id=READER_CLIENT_ID, scope=f"{cloud.graph_url}/.default", vendable=False)}
[sync]
profile = "directory"
streams = {json.dumps(STREAMS)}
store = {json.dumps(f"sqlite:///{folder / 'directory.db'}")}
"""
    )
    entries = [
        f"""\
[callers.{name}]
key_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]
{"admin = true" if name == ADMIN else _ENTRY}
"""
        for name, key in keys.items()
    ]
    (folder / "callers.toml").write_text("\n".join(["generation = 1\n", *entries]))
    for name, key in keys.items():
        file = folder / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(key)
    token = folder / f"{CALLER}.token"
    token.touch(mode=0o600)
    token.write_text(cloud.issuer.token(SUBJECT, audience=VEND, lifetime=TOKEN_LIFETIME))


def _profile(
    name: str, cloud: LocalCloud, *, scope: str, client_id: str = CLIENT_ID, vendable: bool = True, more: str = ""
) -> str:
    return f"""\
[profiles.{name}]
tenants = ["{TENANT_ID}"]
client_id = "{client_id}"
scopes = ["{scope}"]
vendable = {json.dumps(vendable)}
{more}
[[profiles.{name}.credentials]]
type = "certificate"
vault = "{cloud.vault_url}"
name = "{CERTIFICATE}"
signing = "vault"
"""


class App(AbstractContextManager["App"]):
    """The app in a Functions host of its own process, whose environment is its app settings and nothing else.

    Args:
        settings: the app settings.
        keys: the key store of the host.
        log: receives the log of the app.
        port: of the host; 0 for a free one.
        app: the folder of the function app.
        path: where modules are looked for, beside the standard library; () for the packages of this environment.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str],
        keys: Path,
        log: Path,
        port: int = 0,
        app: Path = ROOT,
        path: Sequence[Path] = (),
    ) -> None:
        # -P: the current folder is no place for modules; -S: neither is this environment.
        self._command = [
            sys.executable, "-P", *(["-S"] if path else []), "-m", "emulator.host", "--app", str(app),
            "--port", str(port), "--keys", str(keys), "--log", str(log), "--with-parent",
        ]  # fmt: skip
        places = os.pathsep.join(str(place) for place in path or (ROOT,))
        self._environment = {**_inherited(), **settings, "PYTHONPATH": places}
        self._log = log

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C in a terminal reaches this process alone, and it stops the app in order.
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(SECONDS_TO_START, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self.__exit__(None, None, None)
            raise SiteError(f"the Functions host did not start; see {self._log}")
        self.url = line.rsplit(maxsplit=1)[-1]
        self.pid = self._process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


@dataclass(frozen=True)
class Site:
    """A local cloud, an app that runs against it, and the function keys of its caller and of its administrator.

    The app listens without TLS at `app.url`, and with it at `url`: clients of Entra speak to nothing else.
    """

    cloud: LocalCloud
    folder: Path
    app: App
    url: str
    key: str = field(repr=False)
    admin_key: str = field(repr=False)
    started: float


def app_settings(cloud: LocalCloud, config: Path) -> dict[str, str]:
    """Return the app settings that Azure would set: the configuration, the schedules and the managed identity."""
    return {
        **SCHEDULES,
        "VEND_CONFIG": str(config),
        "IDENTITY_ENDPOINT": cloud.identity_endpoint,
        "IDENTITY_HEADER": cloud.identity_header,
    }


def write_keys(file: Path, callers: Mapping[str, str]) -> None:
    """Write the key store of the host: a host-scoped function key for each caller, named as `./vend callers` does."""
    named = {f"vend-{name}": key for name, key in callers.items()}
    KeyFile(file).write(Keys(generate(), {"default": generate(), **named}, {}))


def write_local_settings(file: Path, settings: Mapping[str, str]) -> None:
    """Write the app settings as Azure Functions Core Tools read them.

    https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file
    """
    of_host = {"FUNCTIONS_WORKER_RUNTIME": "python", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    file.write_text(json.dumps({"IsEncrypted": False, "Values": {**of_host, **settings}}, indent=2))


def start(
    stack: ExitStack,
    folder: Path,
    *,
    ports: Mapping[str, int] = MappingProxyType({}),
    app_port: int = 0,
    settings: Mapping[str, str] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    app_folder: Path = ROOT,
    app_path: Sequence[Path] = (),
    users: int = 20,
) -> Site:
    """Start the cloud and the app; the stack stops them.

    Args:
        stack: receives what must be stopped.
        folder: an empty one, for every file that is written.
        ports: of the cloud's parts; the others get free ones.
        app_port: of the Functions host; 0 for a free one.
        settings: app settings beside those of `app_settings`.
        limits: limits that differ from their defaults.
        app_folder: the folder of the function app.
        app_path: where the host and the app look for modules; () for the packages of this environment.
        users: how many people the synthetic tenant of the cloud has.
    """
    began = time.monotonic()
    cloud = stack.enter_context(LocalCloud(folder, ports=ports, users=users))
    keys = {CALLER: generate(), ADMIN: generate()}
    write_configuration(cloud, folder, keys, limits=limits)
    write_keys(folder / "host.keys.json", keys)
    cloud.management.add_site(APP_RESOURCE_ID, KeyFile(folder / "host.keys.json"))
    settings = {**app_settings(cloud, folder / "vend.toml"), **settings}
    write_local_settings(folder / "local.settings.json", settings)
    app = stack.enter_context(
        App(
            settings=settings,
            keys=folder / "host.keys.json",
            log=folder / "app.log",
            port=app_port,
            app=app_folder,
            path=app_path,
        )
    )
    return Site(
        cloud=cloud,
        folder=folder,
        app=app,
        url=cloud.publish(int(app.url.rpartition(":")[2])),
        key=keys[CALLER],
        admin_key=keys[ADMIN],
        started=time.monotonic() - began,
    )


def ask(site: Site, scope: str = SCOPE) -> tuple[int, dict[str, Any], float]:
    """Request a token; return the status, the answer and the milliseconds."""
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
    request = urllib.request.Request(  # noqa: S310  # our own http URL
        f"{site.app.url}/api/token", data=form, headers={"x-functions-key": site.key}
    )
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            status, body = refusal.code, refusal.read()
    took = (time.perf_counter() - began) * 1000
    return status, json.loads(body or b"{}"), took


def _inherited() -> dict[str, str]:
    """Return what a process needs of this environment, without any variable that configures an SDK."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}


def _quoted(path: Path) -> str:
    return json.dumps(str(path))  # a TOML basic string is written as in JSON
