"""What a client of Entra is told of the authority that vend is to it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.cloud import LocalCloud
from shared.api.answers import Answer
from shared.api.discovery import ROUTE, Discovery
from shared.core.errors import RouteDisabled, VendError
from shared.core.request import Incoming
from shared.telemetry.events import Events
from tests.api.shop import TENANT
from tests.clock import FakeClock, fake_system
from tests.contract import conforms
from tests.in_process import App

URL = f"https://vend.test/api/{ROUTE.replace('{tenant}', TENANT)}"


def told(method: str = "GET", url: str = URL, refusal: type[VendError] | None = None, body: bytes = b"") -> Answer:
    """Ask; what comes keeps to the contract, and leaves no line."""
    lines: list[str] = []
    events = Events(lines.append, wall=FakeClock().wall, worker="w")
    discovery = Discovery(refusal=refusal, system=fake_system(FakeClock()), events=events)
    answer = asyncio.run(discovery.answer(Incoming(method, url, {}, body)))
    assert conforms(f"/api/{ROUTE}", method, answer.status, answer.headers, answer.body) == []
    assert lines == []
    return answer


def test_the_token_endpoint_is_below_the_authority() -> None:
    """Every URL is at the origin that was asked, and the tenant is the one of the URL, whichever that is."""
    metadata = json.loads(told(url=f"{URL}?appid=x").body)
    authority = f"https://vend.test/api/entra/{TENANT}"
    assert metadata["token_endpoint"] == f"{authority}/oauth2/v2.0/token"
    assert metadata["issuer"] == f"{authority}/v2.0"
    assert all(value.startswith(f"{authority}/") for value in metadata.values() if isinstance(value, str))


def test_it_confirms_no_tenant() -> None:
    """The answer for a tenant that nobody has differs in that GUID alone."""
    other = "44444444-4444-4444-4444-444444444444"
    assert told(url=URL.replace(TENANT, other)).body.decode().replace(other, TENANT) == told().body.decode()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"method": "HEAD"}, 200),
        ({"method": "POST"}, 405),
        ({"url": f"{URL}?code=x"}, 400),
        ({"url": URL.replace(TENANT, "common")}, 400),
        ({"url": URL.replace(TENANT, "x" * 65)}, 400),
        ({"body": b"x" * 20_000}, 413),
        ({"refusal": RouteDisabled}, 403),
    ],
)
def test_a_request_that_is_refused(asked: dict[str, Any], status: int) -> None:
    """A body to a GET is measured too."""
    assert told(**asked).status == status


@pytest.mark.parametrize(("setting", "status"), [("", 403), ("app_checked_routes = true", 200)])
def test_it_is_open_with_the_others(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, setting: str, status: int
) -> None:
    """The operator opens it with the routes whose keys the host does not check."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=setting) as app:
            assert (await app.send(ROUTE, Incoming("GET", URL, {}, b""))).status == status

    asyncio.run(story())
