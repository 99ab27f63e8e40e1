import ssl
from collections.abc import Iterator

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.seed import CLIENT_ID
from tests.emulator.client import Clock, KeyPair, key_pair

DAY = 86400


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
