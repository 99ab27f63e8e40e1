"""Each blob service, for the tests of what reads and writes there."""

from collections.abc import Iterator

import pytest

from emulator.cloud import LocalCloud
from tests.adapters.blob_services import Store, local_store, oracle_store


@pytest.fixture(scope="module")
def local(cloud: LocalCloud) -> Store:
    """The local blob service."""
    return local_store(cloud)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Azurite, with the containers of the local one."""
    with oracle_store(tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(params=["local", pytest.param("oracle", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> Store:
    """Each blob service."""
    found: Store = request.getfixturevalue(request.param)
    return found
