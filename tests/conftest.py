"""The whole of it on this machine: the app in Microsoft's runtime, behind a host with keys, against the local cloud."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from emulator.run import Site, start


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One cloud and one app for every test that leaves them as they were."""
    with ExitStack() as stack:
        yield start(stack, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def client(site: Site) -> Iterator[httpx.Client]:
    """A client of the app."""
    with httpx.Client(base_url=site.app.url, trust_env=False, timeout=60) as client:
        yield client
