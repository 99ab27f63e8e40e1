"""The job of the timer as the wiring makes it: with which tokens it reads Graph, how much, and where not at all."""

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, CLIENT_ID, DIRECTORY_CONTAINER, TENANT_ID
from emulator.witness import audience_of
from shared.core.limits import Limits
from shared.directory.check import REMEMBERED_SECONDS
from shared.runtime import build
from shared.telemetry.events import Events
from tests.adapters.database.directory_copy import oid
from tests.adapters.database.postgresql_server import PASSWORD, PostgresqlServer
from tests.clock import FakeClock, fake_system
from tests.in_process import GRAPH_SCOPE, App, suffering, write_configuration


def settings(cloud: LocalCloud, folder: Path, *, store: str = "") -> str:
    """Add the sync to a vend.toml."""
    store = store or f"sqlite:///{folder}/directory.db"
    credential = f'{{ type = "certificate", vault = "{cloud.vault_url}", name = "{CERTIFICATE}" }}'
    return f"""
profiles.directory.tenants = ["{TENANT_ID}"]
profiles.directory.client_id = "{CLIENT_ID}"
profiles.directory.scopes = ["{cloud.graph_url}/.default"]
profiles.directory.vendable = false
profiles.directory.credentials = [{credential}]
sync.profile = "directory"
sync.store = {json.dumps(store)}
"""


def sync(cloud: LocalCloud, clock: FakeClock, folder: Path, fault: Fault) -> list[str]:
    """Run the job once while Graph suffers; list what its events say."""

    async def story() -> list[str]:
        async with App(cloud, clock, folder, settings=settings(cloud, folder)) as app:
            with suffering(cloud.faults["graph"], fault):
                return [event.get("outcome") or event["cause"] for event in await app.sync()]

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("size", "end"),
    [(Limits().upstream_body_bytes, "complete"), (Limits().graph_page_bytes, "Graph: answer too large")],
)
def test_a_page_may_be_larger_than_other_answers(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, size: int, end: str
) -> None:
    """FND-B6: a page of Graph has a bound of its own, `graph_page_bytes`."""
    link = f"{timeless.graph_url}/v1.0/users/delta?$deltatoken=x"
    page = {"value": [{"id": oid(1), "displayName": "x" * size}], "@odata.deltaLink": link}
    fault = Fault(kind=Kind.STATUS, status=200, body=json.dumps(page))
    assert sync(timeless, fake_clock, tmp_path, fault) == [end]


def test_a_relative_store_lies_beside_the_app(
    timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DIR-09: wherever the process was started."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    lines = settings(timeless, tmp_path).replace(f"{tmp_path}/directory.db", "directory.db")

    async def story() -> None:
        async with App(timeless, fake_clock, tmp_path, settings=lines) as app:
            await app.sync()

    asyncio.run(story())
    assert (tmp_path / "directory.db").exists()
    assert list(elsewhere.iterdir()) == []


def test_the_store_may_be_a_blob(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """The app's identity writes it, in the one container that it may write; the local copy is nobody else's to read."""
    lines = settings(timeless, tmp_path, store=f"{timeless.blob_url}/{DIRECTORY_CONTAINER}/directory.db")

    async def story() -> None:
        for _ in range(2):  # a second worker
            async with App(timeless, fake_clock, tmp_path, settings=lines) as app:
                for _ in range(2):
                    (event,) = await app.sync()
                    assert (event["event"], event.get("outcome")) == ("sync_finished", "complete")
                app.clock.tick(REMEMBERED_SECONDS)
                (check,) = [each for each in (await app.probe()).body["checks"] if each["name"] == "directory"]
                assert (check["state"], check["detail"]) == ("ok", "complete 1 min ago")

    asyncio.run(story())
    (folder,) = tmp_path.glob(f"vend-{os.geteuid()}-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    file = tmp_path / "read.db"
    file.write_bytes(timeless.blob.read(DIRECTORY_CONTAINER, "directory.db"))
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        found = {row[0] for row in connection.execute("select id from directory_object where state = 'active'")}
    assert found == {person.id for person in timeless.people.tenant().values() if not person.removed}
    gets = [seen.status for seen in timeless.blob.requests if seen.method == "GET" and seen.path.endswith(".db")]
    assert gets == [304, 304, 304]


def test_a_token_that_graph_rejects_is_replaced(timeless: LocalCloud, fake_clock: FakeClock, tmp_path: Path) -> None:
    """REL-42: after a 401 the run gets one new token from Entra, and reads the same link with it."""
    before = len(timeless.entra.requests)
    assert sync(timeless, fake_clock, tmp_path, Fault(kind=Kind.STATUS, status=401, times=1)) == ["complete"]
    assert len(timeless.entra.requests) - before == 2


@pytest.mark.parametrize(
    ("more", "environ", "cause"),
    [
        ("", {}, "vend.toml has no [sync]"),
        ("sync", {"CONTAINER_NAME": "x"}, "no valid settings"),
        ("broken = 1", {}, "no valid settings"),
        ("no folder", {}, "no valid settings"),
    ],
    ids=["no sync", "SQLite on Azure", "mistakes", "DIR-09 no folder"],
)
def test_a_sync_that_cannot_be_is_told(
    timeless: LocalCloud, tmp_path: Path, more: str, environ: Mapping[str, str], cause: str
) -> None:
    """An event says why there is no sync: a disk that dies with its instance is no store."""
    lines: list[str] = []
    events = Events(lines.append, wall=lambda: 0.0, worker="w")
    folder = {"sync": tmp_path, "no folder": tmp_path / "nowhere"}.get(more)
    more = settings(timeless, folder) if folder else more
    write_configuration(
        timeless,
        tmp_path,
        scopes=(GRAPH_SCOPE,),
        settings=more,
        authority=timeless.authority,
        vault=timeless.vault_url,
    )
    text = (tmp_path / "vend.toml").read_text()
    if environ:  # a custom cloud needs these there
        text = "allow_custom_cloud = true\n" + text.replace("challenge = false", "challenge = true")
        (tmp_path / "vend.toml").write_text(text)

    async def run() -> None:
        runtime = build(environ, root=tmp_path, events=events, system=fake_system(FakeClock()))
        await runtime.jobs["graph_sync"]()
        await runtime.aclose()

    asyncio.run(run())
    assert [json.loads(line)["cause"] for line in lines if "sync_disabled" in line] == [cause]


@pytest.mark.slow
def test_the_store_may_be_postgresql(
    timeless: LocalCloud,
    fake_clock: FakeClock,
    tmp_path: Path,
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The app's identity proves itself by a token for the database alone. A server elsewhere takes a password."""
    database, front = postgresql.new_database(), postgresql.front
    both = tmp_path / "roots.pem"
    both.write_bytes(Path(timeless.ca_file).read_bytes() + postgresql.ca_file.read_bytes())
    monkeypatch.setattr(timeless, "ca_file", both)
    lines = settings(timeless, tmp_path, store=f"postgresql://vend@localhost:{front.port}/{database.name}")
    front.passwords.clear()

    async def story(more: str) -> list[str]:
        async with App(timeless, fake_clock, tmp_path, settings=lines + more) as app:
            return [event.get("outcome") or event["cause"] for event in await app.sync()]

    assert asyncio.run(story("")) == ["the store failed: 28P01"]  # this server knows no token
    assert {audience_of(token) for token in front.passwords} == {"https://ossrdbms-aad.database.windows.net"}
    assert asyncio.run(story(f'sync.password = "{PASSWORD}"\n')) == ["complete"]
    assert front.passwords[-1] == PASSWORD
