"""`share = false`: every token has a name, from the API's log back to the caller."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from emulator.cloud import LocalCloud
from shared.api.routes import FUNCTION_KEY
from tests.clock import FakeClock
from tests.in_process import GRAPH_SCOPE, KEY, App, callers_document, request

CALLERS = 60
MINUTES_BETWEEN = 20
DAY = 86_400


def a_day(cloud: LocalCloud, clock: FakeClock, folder: Path, *, share: bool) -> tuple[int, list[set[str]]]:
    """Have callers ask all day, and call Graph with what they get now and then.

    Returns:
        The number of requests to Entra, and for each call of Graph the callers that its token was given to.
    """
    keys = {f"service-{number}": f"a-function-key-of-service-{number}" for number in range(CALLERS)}
    called = len(cloud.graph.requests)

    async def story() -> tuple[int, Mapping[str, set[str]]]:
        settings = f"profiles.graph.share = {str(share).lower()}\n"
        async with App(cloud, clock, folder, scopes=(GRAPH_SCOPE,), settings=settings) as app:
            (folder / "callers.toml").write_text(callers_document(keys, scopes=(GRAPH_SCOPE,)))
            asked = 0
            tls = ssl.create_default_context(cafile=str(cloud.ca_file))
            async with httpx.AsyncClient(verify=tls, trust_env=False) as http:
                for minute in range(0, DAY // 60, MINUTES_BETWEEN):
                    for number, key in enumerate(keys.values()):
                        token = (await app.ask(key=key)).body["access_token"]
                        if (number + minute // MINUTES_BETWEEN) % 18 == 0:
                            bearer = {"authorization": f"Bearer {token}"}
                            answer = await http.get(f"{cloud.graph_url}/v1.0/users?$top=1", headers=bearer)
                            assert answer.status_code == 200
                    await app.landed()
                    clock.tick(60 * MINUTES_BETWEEN)
            asked = app.flights
            given: dict[str, set[str]] = {}
            for event in app.everything("token"):
                given.setdefault(event["uti"], set()).add(event["caller"])
            return asked, given

    asked, given = asyncio.run(story())
    return asked, [given[seen.token_id] for seen in cloud.graph.requests[called:]]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "entra"), [(True, 36), (False, 2160)])
def test_each_call_of_an_api_leads_to_its_caller(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, *, share: bool, entra: int
) -> None:
    """Over a day of 60 callers; docs/operations.md has the price in requests to Entra."""
    asked, owners = a_day(timeless, fake_clock, tmp_path, share=share)
    assert len(owners) > 200
    assert asked == entra
    assert all(len(callers) == 1 for callers in owners) is not share


@pytest.mark.parametrize(
    ("given", "is_logged"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", True),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", False),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like", False),
        ("CANARY", False),
    ],
)
def test_the_trace_of_a_caller_stands_in_its_event(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, given: str, *, is_logged: bool
) -> None:
    """ABU-88: as it was sent, if it is one; nothing else of the header is logged."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            for key in (KEY, "a-key-of-nobody-at-all"):
                asked = request(FUNCTION_KEY, scope=GRAPH_SCOPE, key=key)
                await app.send("token", replace(asked, headers={**asked.headers, "traceparent": given}))
            known, stranger = app.everything("token")
            assert known.get("traceparent") == (given if is_logged else None)
            assert "traceparent" not in stranger

    asyncio.run(story())
