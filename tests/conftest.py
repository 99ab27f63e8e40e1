"""The whole of it on this machine: the app in Microsoft's runtime, behind a host with keys, against the local cloud."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings

from emulator.cloud import LocalCloud
from emulator.tour.site import Site, app_settings, start
from tests.adapters.database.postgresql_server import PostgresqlServer, running
from tests.clock import FakeClock
from tests.contract import check
from tests.emulator.client import Clock

# How long one example takes is the machine's business, so there is no deadline.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("vend", PATIENT)
settings.register_profile("nightly", PATIENT, max_examples=10_000)
# A mutant is judged by the same examples every time, and how small the one that kills it can get is of no interest.
settings.register_profile("mutants", PATIENT, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("vend")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: a file stays in one process, and the last ones must be short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The cloud's time, standing still at the real one so that the libraries, which have their own, agree with it."""
    return Clock(time.time())


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[LocalCloud]:
    """One running cloud for the tests of a module."""
    with LocalCloud(tmp_path_factory.mktemp("cloud"), now=clock) as running:
        yield running


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One cloud and one app for every test that leaves them as they were; every stranger leaves a line in its log."""
    with ExitStack() as stack:
        limits = {"unknown_keys_per_minute": 100_000}
        yield start(stack, tmp_path_factory.mktemp("site"), settings=measured(), limits=limits)


def measured() -> Mapping[str, str]:
    """The settings by which coverage follows into the app's process; none where nothing is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One PostgreSQL server; each test makes a database of its own."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def client(site: Site) -> Iterator[httpx.Client]:
    """A client of the app, which takes no answer that is not in the contract."""
    hooks = {"response": [check]}
    with httpx.Client(base_url=site.app.url, trust_env=False, timeout=60, event_hooks=hooks) as client:
        yield client


@pytest.fixture(scope="module")
def fake_clock() -> FakeClock:
    """The time of a cloud and of the workers that run against it."""
    return FakeClock()


@pytest.fixture(scope="module")
def timeless(tmp_path_factory: pytest.TempPathFactory, fake_clock: FakeClock) -> Iterator[LocalCloud]:
    """A cloud by that clock, whose managed identity this process has: azure-identity reads it from the environment.

    Its time is that of the boot clock: a jump of the wall clock is one of the workers' alone.
    """
    folder, start = tmp_path_factory.mktemp("timeless"), fake_clock()
    with (
        LocalCloud(folder, now=lambda: start.wall + fake_clock().boot - start.boot) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in app_settings(cloud, folder).items():
            patch.setenv(name, value)
        yield cloud
