import asyncio
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.identity.app import LIFETIME
from emulator.network.faults import Fault, Kind
from emulator.seed import CLIENT_ID, CONTAINER, TENANT_ID
from shared.api.readiness import REPORT_SECONDS
from tests.clock import FakeClock, settle
from tests.in_process import KEY, App, ParsedFault, Told, callers_document, suffering
from tests.tables import case_id, cases

pytestmark = pytest.mark.slow

PROBES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A worker in trouble; tests/data/readiness.toml describes the fields."""

    id: str
    settings: str = ""
    age: int | None = None
    callers: str | None = None
    part: str = ""
    fault: ParsedFault | None = None
    http: int
    status: str
    matters: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    calls: int


@pytest.mark.parametrize("case", cases("readiness.toml", Case), ids=case_id)
def test_a_worker_says_how_it_is(case: Case, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """Each row: the status, the checks that matter, and the calls to Entra; and no id or address in any of it."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=case.settings) as app:
            document = tmp_path / "callers.toml"
            if case.age is not None:
                await app.ask()
                fake_clock.tick(case.age)
            if case.callers is not None:
                document.unlink()
                if case.callers:
                    document.write_text(case.callers)
            with suffering(timeless.faults[case.part], case.fault) if case.fault else nullcontext():
                if case.fault and case.age is not None:
                    await app.ask()  # which starts the refresh that fails
                    await app.landed()
                before = len(timeless.entra.requests)
                told = await asyncio.gather(*(app.probe() for _ in range(PROBES)))
                fake_clock.tick(0.9 * REPORT_SECONDS)
                told.append(await app.probe())
                assert len(timeless.entra.requests) - before == case.calls
            assert {(answer.status, answer.wait) for answer in told} == {(case.http, 30 if case.http == 503 else None)}
            body = told[0].body
            assert body["status"] == case.status
            matters = {check["name"]: check["state"] for check in body["checks"] if check["state"] != "ok"}
            assert matters == case.matters
            assert case.says in json.dumps(body["checks"])
            assert not [word for word in (TENANT_ID, CLIENT_ID, "//") if word in json.dumps(body)]
            assert len(app.everything("readiness_changed")) == (case.status != "ready")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("certificate_file", None, "cannot be read (FileNotFoundError)"),
        ("certificate_file", b"x", "is no PEM or PFX file, or its password is another one"),
        ("assertion_file", None, "cannot be read (FileNotFoundError)"),
        ("assertion_file", b"", "holds no assertion"),
    ],
)
def test_a_file_of_the_operators_is_named_in_the_log_alone(
    kind: str, content: bytes | None, says: str, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """SEC-10: every caller may read the report, so that it says what is wrong and not of which file."""
    settings = f'profiles.graph.credentials = [{{ type = "{kind}", path = "contoso-signing" }}]'
    if content is not None:
        (tmp_path / "contoso-signing").write_bytes(content)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=settings) as app:
            report = json.dumps((await app.probe()).body["checks"])
            assert f"none can be had: {says}" in report
            assert "contoso" not in report
            (failed,) = app.everything("acquire_failed")
            assert failed["cause"] == f"contoso-signing: {says}"

    asyncio.run(story())


def state_of(told: Told, check: str) -> str:
    """Read the state of one check."""
    (state,) = [each["state"] for each in told.body["checks"] if each["name"] == check]
    return str(state)


def test_a_probe_is_no_reason_to_ask_the_identity(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """A worker with a token for callers needs none of its own: it is degraded, and probes leave the endpoint alone."""
    away, cloud = timeless.faults["identity"], Fault(kind=Kind.STATUS, status=500)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path) as app:
            await app.ask()
            fake_clock.tick(LIFETIME - 1_000)
            with suffering(away, cloud):
                assert (await app.ask()).status == 200  # the own token still opens the vault, and its refresh fails
                await app.landed()
                fake_clock.tick(1_700)  # the refresh of the caller's token is due, and its assertion is over
                assert (await app.ask()).status == 200
                await app.landed()
                asked = away.taken
                for _ in range(PROBES):
                    fake_clock.tick(2 * REPORT_SECONDS)
                    probed = await app.probe()
                    assert (probed.status, state_of(probed, "token")) == (200, "degraded")
                    assert state_of(probed, "identity") == "degraded"
                    assert "failed for 1 of 1: managed identity: HTTP 500" in json.dumps(probed.body)
                assert away.taken == asked > 0
            assert {event["scope"] for event in app.everything("identity_failed")} == {
                "https://vault.azure.net/.default"
            }

    asyncio.run(story())


def test_a_document_in_a_blob_needs_the_identity(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-65: without a token the worker fails; with one that is good for hours it is degraded, and reads the blob."""
    place = f"callers = '{timeless.blob_url}/{CONTAINER}/callers.toml'"
    timeless.blob.write(CONTAINER, "callers.toml", callers_document({"billing": KEY}).encode())

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=place) as app:
            with suffering(timeless.faults["identity"], Fault(kind=Kind.STATUS, status=403)):
                probed = await app.probe()
                assert (probed.status, state_of(probed, "callers"), state_of(probed, "identity")) == (
                    503,
                    *2 * ["failed"],
                )
            fake_clock.tick(60)
            probed = await app.probe()
            assert (probed.status, state_of(probed, "identity")) == (200, "ok")
            fake_clock.tick(0.6 * LIFETIME)
            with suffering(timeless.faults["identity"], Fault(kind=Kind.STATUS, status=500)):
                assert (await app.ask()).status == 200  # which starts the refresh that fails
                await app.landed()
                probed = await app.probe()
                assert (probed.status, state_of(probed, "callers"), state_of(probed, "identity")) == (
                    200,
                    "ok",
                    "degraded",
                )
                assert "the last attempt failed: managed identity: HTTP 500" in json.dumps(probed.body)

    asyncio.run(story())


def test_a_log_that_raises_is_seen(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-37: callers are answered, and the worker says that their events are lost."""

    def full(line: str) -> None:
        raise OSError(line)

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, log=full) as app:
            told = [await app.ask() for _ in range(3)]
            probed = await app.probe()
            assert {answer.status for answer in told} == {200}
            assert (probed.status, probed.body["status"], state_of(probed, "events")) == (200, "degraded", "degraded")
            # Those of the three answers, and the one that names the credential that Entra has accepted.
            assert "4 lost" in json.dumps(probed.body)

    asyncio.run(story())


class Late(asyncio.SelectorEventLoop):
    """An event loop that can be made to find itself late, without anybody waiting for it."""

    lost = 0.0

    def time(self) -> float:
        """Read the clock of the loop."""
        return super().time() + self.lost


def test_a_log_that_blocks_is_seen(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-37, REL-47: who is asked meanwhile answers late, but answers, and the worker says how late it was."""
    loop = Late()

    def slow(_: str) -> None:
        loop.lost += 3

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, log=slow) as app:
            first = await app.probe()
            assert (first.status, state_of(first, "event_loop")) == (200, "ok")
            assert (await app.ask()).status == 200
            fake_clock.tick(REPORT_SECONDS)
            await settle()  # a probe comes by the network, when the loop has its turn again
            probed = await app.probe()
            assert (probed.status, state_of(probed, "event_loop")) == (200, "degraded")

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story())
