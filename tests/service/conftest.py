from collections.abc import Iterator

import pytest

from emulator.cloud import LocalCloud
from emulator.run import app_settings
from tests.clock import FakeClock


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
