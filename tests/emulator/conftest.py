import ssl
from collections.abc import Iterator

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.seed import CLIENT_ID
from tests.emulator.client import Clock, KeyPair, key_pair
from tests.emulator.vault_clients import VaultHost, vault_host

DAY = 86400


@pytest.fixture(scope="module")
def cloud(cloud: LocalCloud) -> Iterator[LocalCloud]:
    """One running cloud, which may see what no client should send: these tests send it on purpose."""
    yield cloud
    cloud.misdirected.clear()


@pytest.fixture(scope="module")
def registered(cloud: LocalCloud, clock: Clock) -> KeyPair:
    """A key whose certificate the seeded application has."""
    pair = key_pair(starts=clock() - DAY, ends=clock() + DAY)
    cloud.directory.register_certificate(CLIENT_ID, pair.der)
    return pair


@pytest.fixture(scope="module")
def client_secret(cloud: LocalCloud) -> str:
    """A secret of the seeded application."""
    return cloud.directory.add_secret(CLIENT_ID, lifetime=DAY)


@pytest.fixture(scope="module")
def trust(cloud: LocalCloud) -> ssl.SSLContext:
    """The client's side of TLS."""
    return ssl.create_default_context(cafile=str(cloud.ca_file))


@pytest.fixture
def http(trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    """A plain HTTP client that trusts the cloud."""
    with httpx.Client(verify=trust, timeout=5) as client:
        yield client


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultHost]:
    """One server for a module's vaults."""
    with vault_host(tmp_path_factory.mktemp("vault")) as host:
        yield host
