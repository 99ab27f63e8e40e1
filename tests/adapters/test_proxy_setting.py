import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.proxy import ForwardProxy
from emulator.tour.site import app_settings
from tests.clock import FakeClock
from tests.in_process import App, Told

DOMAIN = "vend.test"
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


@pytest.fixture
def clock() -> FakeClock:
    """The time of the cloud and of the worker."""
    return FakeClock()


@pytest.fixture
def named(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A cloud whose parts have names that nobody but a proxy knows."""
    with LocalCloud(tmp_path, now=lambda: clock().wall, domain=DOMAIN) as cloud:
        for name, value in app_settings(cloud, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield cloud


def ask(cloud: LocalCloud, clock: FakeClock, folder: Path, *, settings: str) -> tuple[Told, list[str]]:
    """Have a new worker ask for its first token; tell the answer, and what became of flights that failed."""

    async def story() -> tuple[Told, list[str]]:
        async with App(cloud, clock, folder, settings=settings) as app:
            return await app.ask(), [event["cause"] for event in app.everything("acquire_failed")]

    return asyncio.run(story())


def test_everything_goes_through_the_proxy_of_the_settings(
    named: LocalCloud, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REL-22: vault and Entra are asked through `[network] proxy`, the managed identity is not; no other is used."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ForwardProxy(named.names) as proxy:
        told, failures = ask(named, clock, tmp_path, settings=f'network.proxy = "{proxy.url}"')

    assert (told.status, failures) == (200, [])
    assert set(proxy.tunnels) == {f"vault.{DOMAIN}:443", f"login.{DOMAIN}:443"}


@pytest.mark.slow
def test_a_region_is_asked_by_its_own_name(named: LocalCloud, clock: FakeClock, tmp_path: Path) -> None:
    """The regional host is asked first; Entra refuses it to others than its own, and the global one answers."""
    with ForwardProxy(named.names) as proxy:
        settings = f'network.proxy = "{proxy.url}"\nprofiles.graph.region = "westeurope"'
        told, _ = ask(named, clock, tmp_path, settings=settings)

    assert told.status == 200
    assert [(seen.host, seen.code) for seen in named.entra.requests] == [
        (f"westeurope.login.{DOMAIN}", 100007),
        (f"login.{DOMAIN}", None),
    ]


@pytest.mark.slow
def test_no_proxy_of_the_environment_is_used(
    named: LocalCloud, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REL-22: a proxy that would lead there, named by the environment alone, is never asked."""
    with ForwardProxy(named.names) as proxy:
        for name in VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        told, failures = ask(named, clock, tmp_path, settings="")

    assert (told.status, failures) == (503, ["Key Vault: no connection"])
    assert proxy.tunnels == []
