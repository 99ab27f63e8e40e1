"""`GET /api/doctor`, and what readiness says of the callers document, by the app as it is built."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509

from emulator.cloud import LocalCloud
from emulator.rehearsals import unregistered
from emulator.seed import CLIENT_ID
from shared.core.request import Incoming
from shared.runtime import build
from shared.system import System
from shared.telemetry.events import Events
from tests.clock import FakeClock
from tests.contract import conforms
from tests.in_process import GRAPH_SCOPE, KEY, App

OTHER_KEY, SPOILT_KEY = "a-function-key-of-reports", "a-function-key-of-spoilt"
MUST_CHECK = 30


def entry(name: str, key: str, more: str = "", *, scope: str = GRAPH_SCOPE) -> str:
    """Write one caller."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    allow = f"allow = [{{ profile = 'graph', scopes = ['{scope}'] }}]"
    return f"[callers.{name}]\nkey_sha256 = ['{digest}']\n{allow}\n{more}\n"


GOOD = entry("billing", KEY, "admin = true") + entry("reports", OTHER_KEY)
FLAWED = (
    entry("billing", KEY, "admin = true")
    + entry("reports", OTHER_KEY, scope="https://nowhere.example/.default")
    + entry("spoilt", SPOILT_KEY, "colour = 1")
)
MISTAKES = [
    {"at": "callers.reports.allow[0].scopes[0]", "what": "the profile does not have this scope"},
    {"at": "callers.spoilt.colour", "what": "is not a setting"},
]


def named(text: str) -> str:
    """Name a version of the document."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_an_administrator_sees_every_mistake(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-64: with its key, the digests and the check; the callers without a mistake are served meanwhile."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(FLAWED)
            told = await app.diagnose()
            assert told.status == 200
            assert told.body["mistakes"] == MISTAKES
            document = {"in_force": named(FLAWED), "newest": named(FLAWED), "refused": 2, "generation": 1}
            assert (told.body["worker"], told.body["callers"]) == ("w", document)
            assert [(check["name"], check["state"]) for check in told.body["checks"]] == [("callers", "degraded")]
            assert (await app.ask()).status == 200
            denied = await app.ask(key=OTHER_KEY)
            assert (denied.status, denied.body["error"]) == (400, "invalid_scope")
            assert (await app.ask(key=SPOILT_KEY)).status == 401
            (event,) = app.everything("callers_refused")
            assert (event["count"], len(event["mistakes"])) == (2, 2)

    asyncio.run(story())


def test_an_administrator_sees_by_which_credential_each_profile_proves_itself(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """FND-E5: none on a fresh worker; then the accepted one with its end; then that it rests, once Entra refuses it."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(GOOD)
            (fresh,) = (await app.diagnose()).body["credentials"]
            nothing: dict[str, object] = {"credential": None, "is_accepted": False, "ends": None, "resting": []}
            assert fresh == {"profile": "graph", **nothing}
            assert (await app.ask()).status == 200
            (serving,) = (await app.diagnose()).body["credentials"]
            version = timeless.vault.versions("vend")[-1]
            assert serving["credential"].endswith(f"/certificates/vend/{version}")
            certificate = x509.load_der_x509_certificate(timeless.vault.certificate("vend"))
            assert serving["ends"] == certificate.not_valid_after_utc.isoformat()
            assert (serving["is_accepted"], serving["resting"]) == (True, [])
            register = unregistered(timeless.directory, CLIENT_ID)()
            fake_clock.tick(7200)
            try:
                assert (await app.ask()).status == 502
            finally:
                register()
            (refused,) = (await app.diagnose()).body["credentials"]
            assert refused == serving | {"is_accepted": False, "resting": [serving["credential"]]}

    asyncio.run(story())


def test_nobody_else_sees_any(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """SEC-05: not there and not in readiness: no name, no grant, no mistake; only how many callers have one."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(FLAWED)
            refusals = [await app.diagnose(key=key) for key in (OTHER_KEY, SPOILT_KEY, "a-key-of-nobody-at-all", "")]
            assert [(told.status, told.body["error"]) for told in refusals] == [
                (403, "unauthorized_client"),
                (401, "invalid_client"),
                (401, "invalid_client"),
                (401, "invalid_client"),
            ]
            ready = await app.probe()
            assert (ready.status, ready.body["status"], ready.body["callers"]["refused"]) == (200, "degraded", 2)
            assert set(ready.body["callers"]) == {"in_force", "newest", "refused", "generation"}
            assert "credentials" not in ready.body
            said = json.dumps([told.body for told in (*refusals, ready)])
            assert not [
                word for word in ("billing", "reports", "spoilt", "colour", "allow[", "nowhere") if word in said
            ]

    asyncio.run(story())


def test_two_digests_tell_of_a_document_that_is_refused(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """FND-C4: readiness shows the one in force and the newest; a fresh worker takes what a warm one refuses."""
    older = "generation = 4\n" + GOOD
    newer = "generation = 5\n" + GOOD

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(newer)
            assert (await app.ask()).status == 200
            (tmp_path / "callers.toml").write_text(older)
            fake_clock.tick(MUST_CHECK)
            warm = (await app.probe()).body
            assert warm["callers"] == {
                "in_force": named(newer),
                "newest": named(older),
                "refused": 0,
                "generation": 5,
            }
            assert warm["status"] == "degraded"
            (mistake,) = (await app.diagnose()).body["mistakes"]
            assert mistake["at"] == "generation"
            (event,) = app.everything("callers_invalid")
            assert (event["in_force"], event["newest"]) == (named(newer), named(older))
        async with App(timeless, fake_clock, tmp_path / "fresh", scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "fresh" / "callers.toml").write_text(older)
            fresh = (await app.probe()).body["callers"]
            assert fresh == {"in_force": named(older), "newest": named(older), "refused": 0, "generation": 4}

    (tmp_path / "fresh").mkdir()
    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [("POST", "", 405), ("GET", "?code=x", 400), ("HEAD", "", 200), ("HEAD", "?code=", 400)],
)
def test_the_doctor_is_asked_as_the_probe_is(
    method: str, query: str, status: int, timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path
) -> None:
    """GET or HEAD, and no key in the URL; the answer to HEAD has no body."""

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(GOOD)
            told = await app.diagnose(method, query=query)
            assert told.status == status
            assert (told.body is None) is (method == "HEAD")

    asyncio.run(story())


def test_many_mistakes_have_a_size(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """FND-B3: the first ones, then their number, in the answer and in the event, whose line has 16 KiB at most."""
    text = entry("billing", KEY, "admin = true") + "".join(f"[callers.{'n' * 50}{n}]\ncolour = 1\n" for n in range(900))

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, scopes=(GRAPH_SCOPE,)) as app:
            (tmp_path / "callers.toml").write_text(text)
            mistakes = (await app.diagnose()).body["mistakes"]
            # Each entry has an unknown key, and lacks its own.
            assert mistakes[-1] == {"at": "", "what": f"and {2 * 900 - len(mistakes) + 1} more"}
            assert 20 < len(mistakes) < 900
            (line,) = [line for line in app.lines if '"callers_refused"' in line]
            assert len(line) <= 16 * 1024

    asyncio.run(story())


def test_without_settings_nobody_is_an_administrator(fake_clock: FakeClock, tmp_path: Path) -> None:
    """503 as everywhere while vend.toml has mistakes; readiness knows of no document."""

    async def story() -> None:
        events = Events(lambda _: None, wall=lambda: fake_clock().wall, worker="w")
        runtime = build({}, root=tmp_path, events=events, system=System(clock=fake_clock))
        told = {}
        for name in ("doctor", "health/ready"):
            answer = await runtime.routes[name](Incoming("GET", f"https://vend.test/api/{name}", {}, b""))
            assert conforms(f"/api/{name}", "GET", answer.status, answer.headers, answer.body) == []
            assert answer.status == 503
            told[name] = json.loads(answer.body)
        nothing = {"in_force": None, "newest": None, "refused": 0, "generation": None}
        assert told["health/ready"]["callers"] == nothing

    asyncio.run(story())
