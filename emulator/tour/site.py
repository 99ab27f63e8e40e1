"""A site: the local cloud and the app, which runs against it in a Functions host of its own process."""

import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emulator.cloud import LocalCloud
from emulator.host.keys import KeyFile, Keys, generate
from emulator.seed import (
    APP_RESOURCE_ID,
    CERTIFICATE,
    CLIENT_ID,
    GRAPH,
    IDENTITY_CLIENT_ID,
    INVOICES,
    OBJECT_ID,
    ORDERS,
    ORDERS_CLIENT_ID,
    READER_CLIENT_ID,
    TENANT_ID,
    VEND,
    VEND_ID,
)
from emulator.tour.app import App
from emulator.tour.ports import FREE, Ports, write_addresses
from emulator.tour.spoil import NO_SCOPE, NO_TOML, TWO_GRANTS, lost, lost_keys, spoiled

ROOT = Path(__file__).parents[2]
TOKEN_LIFETIME = 86_400
"""Seconds of the identity token in a file; nobody renews it."""
SCOPE = f"{GRAPH}/.default"
CALLER = "billing"
SHOP = "shop"
"""The name of a second caller, which has another profile with two scopes."""
SHOP_SCOPES = (f"{ORDERS}/.default", f"{INVOICES}/.default")
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
_ENTRIES = MappingProxyType(
    {ADMIN: "admin = true", SHOP: f'allow = [{{ profile = "orders", scopes = {json.dumps(SHOP_SCOPES)} }}]'}
)
AT_ONCE = MappingProxyType({"callers_refresh_seconds": 0.2, "callers_must_check_seconds": 0.5})
"""Limits by which an app on one machine reads a changed callers document within a second."""


def write_configuration(
    cloud: LocalCloud,
    folder: Path,
    keys: Mapping[str, str],
    *,
    limits: Mapping[str, float] = MappingProxyType({}),
    store: str = "",
) -> None:
    """Write vend.toml, callers.toml, the key files of the callers and an identity token of one.

    Args:
        cloud: supplies the addresses.
        folder: for the files.
        keys: the function key of each caller.
        limits: limits that differ from their defaults.
        store: of the directory; without it a file in the folder.
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

{_profile("graph", cloud, scopes=[SCOPE], more=ROTATION)}
{_profile("orders", cloud, client_id=ORDERS_CLIENT_ID, scopes=SHOP_SCOPES)}
{_profile("directory", cloud, client_id=READER_CLIENT_ID, scopes=[f"{cloud.graph_url}/.default"], vendable=False)}
[sync]
profile = "directory"
streams = {json.dumps(STREAMS)}
store = {json.dumps(store or f"sqlite:///{folder / 'directory.db'}")}
"""
    )
    entries = [
        f"""\
[callers.{name}]
key_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]
{_ENTRIES.get(name, _ENTRY)}
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
    name: str,
    cloud: LocalCloud,
    *,
    scopes: Sequence[str],
    client_id: str = CLIENT_ID,
    vendable: bool = True,
    more: str = "",
) -> str:
    return f"""\
[profiles.{name}]
tenants = ["{TENANT_ID}"]
client_id = "{client_id}"
scopes = {json.dumps(scopes)}
vendable = {json.dumps(vendable)}
{more}
[[profiles.{name}.credentials]]
type = "certificate"
vault = "{cloud.vault_url}"
name = "{CERTIFICATE}"
signing = "vault"
"""


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
    ports: Ports = FREE,
    settings: Mapping[str, str] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    app_folder: Path = ROOT,
    app_path: Sequence[Path] = (),
    users: int = 20,
    store: str = "",
) -> Site:
    """Start the cloud and the app; the stack stops them.

    Args:
        stack: receives what must be stopped.
        folder: an empty one, for every file that is written.
        ports: where the app and the parts of the cloud listen.
        settings: app settings beside those of `app_settings`.
        limits: limits that differ from their defaults.
        app_folder: the folder of the function app.
        app_path: where the host and the app look for modules; () for the packages of this environment.
        users: how many people the synthetic tenant of the cloud has.
        store: of the directory; without it a file in the folder.
    """
    began = time.monotonic()
    cloud = stack.enter_context(LocalCloud(folder, ports=ports.parts, users=users))
    keys = {name: generate() for name in (CALLER, SHOP, ADMIN)}
    write_configuration(cloud, folder, keys, limits=limits, store=store)
    write_keys(folder / "host.keys.json", keys)
    host_keys = KeyFile(folder / "host.keys.json")
    cloud.management.add_site(APP_RESOURCE_ID, host_keys)
    document = folder / "callers.toml"
    cloud.rehearsals.add("callers", spoiled(document, NO_TOML))
    cloud.rehearsals.add("document", lost(document))
    cloud.rehearsals.add("entry", spoiled(document, NO_SCOPE))
    cloud.rehearsals.add("grants", spoiled(document, TWO_GRANTS))
    cloud.rehearsals.add("keys", lost_keys(host_keys))
    settings = {**app_settings(cloud, folder / "vend.toml"), **settings}
    write_local_settings(folder / "local.settings.json", settings)
    app = stack.enter_context(
        App(
            settings=settings,
            keys=folder / "host.keys.json",
            log=folder / "app.log",
            port=ports.app,
            app=app_folder,
            path=app_path,
        )
    )
    write_addresses(folder, cloud, app=app.url)
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


def _quoted(path: Path) -> str:
    return json.dumps(str(path))  # a TOML basic string is written as in JSON
