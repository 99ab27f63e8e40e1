import asyncio
import time
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CONTAINER
from tests.clock import FakeClock
from tests.in_process import KEY, App, callers_document, suffering

pytestmark = pytest.mark.slow

# Parts of a second stand for the seconds of production: the limits are settings.
BUDGET = 2.0
LIMITS = f"""
limits.connect_seconds = 0.15
limits.read_idle_seconds = 0.4
limits.attempt_seconds = 0.4
limits.caller_budget_seconds = {BUDGET}
"""
HANGS = Fault(kind=Kind.HOLD)


@pytest.mark.parametrize(
    ("part", "cause"),
    [
        ("entra", "Entra: timeout"),
        ("vault", "Key Vault: timeout"),
        ("identity", "managed identity: timeout"),
        ("blob", "callers.toml: Azure Storage: timeout"),
    ],
)
def test_a_call_that_never_ends_is_given_up(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, part: str, cause: str
) -> None:
    """REL-63: two waves of cold callers get their answer within the budget, and the first one afterwards is served."""
    document = "" if part != "blob" else f'callers = "{timeless.blob_url}/{CONTAINER}/callers.toml"\n'
    timeless.blob.write(CONTAINER, "callers.toml", callers_document({"billing": KEY}).encode())

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=document + LIMITS) as app:
            with suffering(timeless.faults[part], HANGS):
                for _ in range(2):
                    began = time.monotonic()
                    told = await asyncio.gather(*(app.ask() for _ in range(12)))
                    assert time.monotonic() - began < BUDGET + 1
                    assert {answer.status for answer in told} <= {503, 504}
                    assert all(answer.wait for answer in told if answer.status == 503)
                    await app.landed()
                    fake_clock.tick(max(answer.wait or 0 for answer in told))
            said = app.everything("acquire_failed") + app.everything("callers_unread")
            assert cause in {event["cause"] for event in said}
            assert (await app.ask()).status == 200

    asyncio.run(story())
