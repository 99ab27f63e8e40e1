"""Where each part of a worker may send requests: the rule that the wiring gives it, which no double carries."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.adapters.http import Allows, Network, Upstream, client_tls
from shared.core.documents.settings import Settings, parse_settings
from shared.core.errors import Unavailable
from shared.core.limits import Limits
from shared.core.origins import origin_of
from shared.core.token import AccessToken, Acquired
from shared.telemetry.events import Events
from shared.wiring.callers import build_callers
from shared.wiring.credentials import build_clients, build_vaults
from shared.wiring.directory import build_sync
from shared.wiring.identity import build_federated, build_identity
from shared.wiring.rotation import build_rotation
from shared.wiring.tokens import build_tokens
from tests.clock import FakeClock, fake_system

TENANT, CLIENT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
SETTINGS = f"""
callers = "https://vendstore.blob.core.windows.net/configuration/callers.toml"
profiles.graph.tenants = ["{TENANT}"]
profiles.graph.client_id = "{CLIENT}"
profiles.graph.scopes = ["https://graph.microsoft.com/.default"]
profiles.graph.credentials = [{{ type = "certificate", vault = "https://vend.vault.azure.net", name = "vend" }}]
profiles.graph.region = "westeurope"
profiles.graph.vendable = false
profiles.graph.application_object_id = "33333333-3333-3333-3333-333333333333"
profiles.far.tenants = ["{TENANT}"]
profiles.far.client_id = "{CLIENT}"
profiles.far.scopes = ["https://graph.microsoft.com/.default"]
profiles.far.credentials = [{{ type = "certificate", vault = "https://vend.vault.azure.cn", name = "vend" }}]
sync.profile = "graph"
sync.store = "sqlite:///FOLDER/directory.db"
"""
ENDPOINT = "http://169.254.129.2:8081/msi/token"

# Every place that some part may ask, and the neighbours of those places.
PLACES = (
    "https://login.microsoftonline.com",
    "https://westeurope.login.microsoft.com",
    "https://graph.microsoft.com",
    "https://vend.vault.azure.net",
    "https://vend.vault.azure.cn",
    "https://vendstore.blob.core.windows.net",
    ENDPOINT,
    "https://other.vault.azure.net",
    "https://other.blob.core.windows.net",
    "https://northeurope.login.microsoft.com",
    "https://login.microsoftonline.com:8443",
    "http://graph.microsoft.com",
    "http://169.254.129.2:8082/msi/token",
    "http://localhost:8081",
    "https://evil.example",
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way out, as the wiring asked for it."""

    allows: Allows
    fault: str
    proxied: bool
    limits: Limits

    @property
    def leads_to(self) -> set[str]:
        """List the places that may be asked."""
        return {place for place in PLACES if (origin := origin_of(place)) and self.allows(origin)}


class Ledger(Network):
    """A network that lists the ways out that a worker has."""

    def __init__(self) -> None:
        super().__init__(tls=client_tls(""), proxy="", limits=Limits())
        self.ways: dict[str, list[Way]] = {}

    def upstream(
        self, name: str, allows: Allows, *, fault: str = "", proxied: bool = True, limits: Limits | None = None
    ) -> Upstream:
        """Return a new upstream, and note it."""
        self.ways.setdefault(name, []).append(Way(allows, fault, proxied, limits or Limits()))
        return super().upstream(name, allows, fault=fault, proxied=proxied, limits=limits)


class Wired(NamedTuple):
    """A worker whose parts are wired, and the app settings that it reads at each call."""

    network: Ledger
    app_settings: dict[str, str]


class NoTokens:
    """Has no token for anybody, so that nothing is ever sent."""

    async def get(self, *_: object, **__: object) -> Acquired:
        """Raise."""
        raise Unavailable(cause="no tokens here")


async def no_token(_: str | None) -> AccessToken:
    """Raise, as above."""
    raise Unavailable(cause="no tokens here")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Read the settings."""
    return parse_settings(SETTINGS.replace("FOLDER", str(tmp_path)).encode(), {}, name="vend.toml")


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Wired]:
    """Wire every part of a worker, and have its job run once."""
    network, system = Ledger(), fake_system(FakeClock())
    app_settings = {"IDENTITY_ENDPOINT": ENDPOINT, "IDENTITY_HEADER": "a secret"}
    events = Events(lambda _: None, wall=system.clock.wall, worker="w")

    async def wire() -> None:
        async with AsyncExitStack() as stack:
            identity = build_identity(settings, app_settings, network=network, system=system, events=events)
            federated = build_federated(settings, app_settings, network=network, system=system, events=events)
            vaults = build_vaults(settings, identity=identity, network=network, system=system)
            clients = build_clients(settings, root=tmp_path, vaults=vaults, federated=federated, system=system)
            build_tokens(settings, clients=clients, network=network, system=system, events=events)
            build_callers(
                settings,
                root=tmp_path,
                network=network,
                get_token=no_token,
                clock=system.clock,
                events=events,
                on_new_generation=lambda: None,
                open_things=stack,
            )
            directory = build_sync(
                settings,
                root=tmp_path,
                tokens=NoTokens(),
                identity=identity,
                network=network,
                system=system,
                events=events,
                open_things=stack,
            )
            await directory.job()
            build_rotation(settings, vaults=vaults, network=network, system=system, events=events)

    asyncio.run(wire())
    yield Wired(network, app_settings)
    asyncio.run(network.aclose())


def test_every_way_out_leads_to_its_own_service_alone(worker: Wired) -> None:
    """FND-A2: each part has the origins of its settings, and no part has a way that this table does not know."""
    found = {name: [way.leads_to for way in ways] for name, ways in worker.network.ways.items()}
    assert found == {
        "managed identity": [{ENDPOINT}],
        "Key Vault": [{"https://vend.vault.azure.net"}, {"https://vend.vault.azure.cn"}],
        "Entra": [
            {"https://login.microsoftonline.com", "https://westeurope.login.microsoft.com"},
            {"https://login.microsoftonline.com"},
        ],
        "Azure Storage": [{"https://vendstore.blob.core.windows.net"}],
        "Graph": [{"https://graph.microsoft.com"}, {"https://graph.microsoft.com"}],
    }


def test_a_page_of_graph_may_take_its_time(worker: Wired) -> None:
    """DIR-06: 60 s to its first byte, 120 s and 8 MiB in all. All else has the ordinary limits, the rotation too."""
    found = {
        name: {
            (way.limits.read_idle_seconds, way.limits.attempt_seconds, way.limits.upstream_body_bytes) for way in ways
        }
        for name, ways in worker.network.ways.items()
    }
    ordinary = (5, 8, 100 * 1024)
    assert found.pop("Graph") == {(60, 120, 8 * 1024 * 1024), ordinary}
    assert set.union(*found.values()) == {ordinary}


def test_the_blob_of_the_sync_has_a_way_of_its_own(tmp_path: Path) -> None:
    """To its own account alone. A piece of 4 MiB may take a minute, and the callers document has no such time."""
    blob = "https://other.blob.core.windows.net/directory/directory.db"
    text = SETTINGS.replace("sqlite:///FOLDER/directory.db", blob)
    settings = parse_settings(text.encode(), {}, name="vend.toml")
    network, system = Ledger(), fake_system(FakeClock())
    events = Events(lambda _: None, wall=system.clock.wall, worker="w")
    build_sync(
        settings,
        root=tmp_path,
        tokens=NoTokens(),
        identity=build_identity(settings, {}, network=network, system=system, events=events),
        network=network,
        system=system,
        events=events,
        open_things=AsyncExitStack(),
    )
    (way,) = network.ways["Azure Storage"]
    assert way.leads_to == {"https://other.blob.core.windows.net"}
    assert (way.proxied, way.fault) == (True, "")
    assert (way.limits.read_idle_seconds, way.limits.attempt_seconds) == (30, 60)


def test_the_identity_alone_is_never_asked_through_a_proxy(worker: Wired) -> None:
    """Its endpoint is on the host of the app: the header that it takes is a secret, and a proxy would read it."""
    assert {name: {way.proxied for way in ways} for name, ways in worker.network.ways.items()} == {
        "managed identity": {False},
        "Key Vault": {True},
        "Entra": {True},
        "Azure Storage": {True},
        "Graph": {True},
    }


def test_a_vault_of_another_cloud_is_never_asked(worker: Wired) -> None:
    """FND-D3: its way out exists and refuses everything, and says why."""
    ours, far = worker.network.ways["Key Vault"]
    assert (ours.fault, far.fault) == ("", "the vault's address is not in the cloud's vault domain")
    assert not any(way.fault for name, ways in worker.network.ways.items() if name != "Key Vault" for way in ways)


def test_the_endpoint_of_the_identity_is_the_one_of_this_moment(
    worker: Wired,
) -> None:
    """Azure may change it while the app runs; without one there is none."""
    (way,) = worker.network.ways["managed identity"]
    worker.app_settings["IDENTITY_ENDPOINT"] = "http://localhost:8081/msi/token"
    assert way.leads_to == {"http://localhost:8081"}
    del worker.app_settings["IDENTITY_ENDPOINT"]
    assert way.leads_to == set()
