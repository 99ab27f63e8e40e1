"""`./vend break` and `./vend mend`."""

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from starlette.responses import Response

from cli.faults import FAULTS, NOTICED, SITUATIONS
from emulator.cloud import PARTS, LocalCloud
from emulator.host.keys import KeyFile
from emulator.network.faults import Fault, Kind
from emulator.network.flaws import Flaw
from emulator.seed import CLIENT_ID, GRAPH_ID, ORDERS, TENANT_ID
from emulator.tour.site import Site
from tests.cli.conftest import Oracle, Run


@pytest.fixture(autouse=True)
def whole(cloud: LocalCloud) -> Iterator[None]:
    """Nothing stays broken."""
    yield
    for switch in cloud.faults.values():
        switch.clear()


@pytest.mark.parametrize(
    ("time", "seconds"), [("90s", 90), ("5m", 300), ("24h", 86_400)], ids=["seconds", "minutes", "hours"]
)
def test_a_part_is_broken_for_a_time(run: Run, cloud: LocalCloud, time: str, seconds: int) -> None:
    """The local cloud itself is told when it ends; the output says when that is, and what callers notice."""
    began = datetime.now().astimezone().replace(microsecond=0)
    done = run("break", "entra", "--for", time, VEND_CONTROL=cloud.control)
    assert cloud.faults["entra"].current == Fault(kind=Kind.REFUSE, lasts_seconds=seconds)
    first, notice, until = done.stdout.splitlines()
    assert first == "entra is broken: nobody listens"
    assert notice.startswith("callers notice  nothing while they have a cached token")
    end = re.fullmatch(r"until           (\d\d:\d\d:\d\d), or ./vend mend entra", until)
    assert end
    moments = [began + timedelta(seconds=seconds + late) for late in range(5)]
    assert end[1] in [f"{moment:%H:%M:%S}" for moment in moments]


@pytest.mark.parametrize("how", [*FAULTS, "401", "403", "429", "503"])
def test_every_way_to_break_is_a_fault_of_the_local_cloud(run: Run, cloud: LocalCloud, how: str) -> None:
    """FND-E8. What this command offers, the control API takes; without a time it lasts until it is mended."""
    assert run("break", "vault", "--how", how, "--control", cloud.control).exit_code == 0
    expected = {
        "slow": Fault(kind=Kind.DELAY, seconds=5),
        "expired": Fault(kind=Kind.TLS, flaw=Flaw.EXPIRED),
    }
    if how.isdigit():
        expected[how] = Fault(kind=Kind.STATUS, status=int(how))
    assert cloud.faults["vault"].current == (expected.get(how) or Fault(kind=Kind(how)))


def test_mending_ends_it_at_once(run: Run, cloud: LocalCloud) -> None:
    """The fault is off, and mending what is whole is no error."""
    cloud.faults["entra"].set(Fault(kind=Kind.REFUSE))
    for _ in range(2):
        done = run("mend", "entra", VEND_CONTROL=cloud.control)
        assert (done.exit_code, done.stdout.startswith("entra works again.")) == (0, True)
        assert cloud.faults["entra"].current is None


def test_for_every_part_it_is_said_what_callers_notice() -> None:
    """A part that the local cloud gains has its sentence here."""
    assert set(PARTS) == NOTICED.keys()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("entra", "--for", "5"), "--for: must be a time such as 30s, 5m or 1h"),
        (("entra", "--for", "0s"), "--for: must be a time such as 30s, 5m or 1h"),
        (("entra", "--for", "25h"), "--for: must be a time such as 30s, 5m or 1h"),
        (
            ("entra", "--how", "404"),
            "--how: must be refuse, black_hole, garbage, endless, slow, expired, 401, 403, 429, or a status",
        ),
        (("identity", "--how", "expired"), "--how: identity has no TLS"),
        (("consent", "--how", "slow"), "--how: is for a part; consent is a situation"),
        (("sql",), "PART: must be one of entra, vault, identity, graph, blob, issuer, management; or a situation: "),
        (("../requests/entra",), "PART: must be one of "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_breaks_nothing_and_is_told(run: Run, cloud: LocalCloud, words: tuple[str, ...], says: str) -> None:
    """The words that would be right, no traceback, and every part is whole."""
    done = run("break", *words, VEND_CONTROL=cloud.control)
    assert done.exit_code == 2
    assert says in done.stderr
    assert [switch.current for switch in cloud.faults.values()] == [None] * len(PARTS)


def state(cloud: LocalCloud) -> dict[str, object]:
    """What a situation changes."""
    application = cloud.directory.application(CLIENT_ID)
    principal = cloud.directory.service_principal(CLIENT_ID, tenant_id=TENANT_ID)
    api = cloud.directory.api(GRAPH_ID)
    assert application
    assert principal
    assert api
    return {
        "audience": cloud.directory.api(ORDERS),
        "clock": cloud.dates.ahead,
        "certificate": [each.certificate for each in application.certificates.values()],
        "consent": cloud.directory.roles(principal.object_id, api),
        "firewall": cloud.vault.app.closed,
        "impostor": cloud.entra.forgery,
        "members": cloud.graph.delta.withheld,
    }


@pytest.mark.parametrize(
    "situation", ["audience", "certificate", "clock", "consent", "firewall", "impostor", "members"]
)
def test_a_situation_begins_and_ends_whole(run: Run, cloud: LocalCloud, situation: str) -> None:
    """It changes what it names and nothing else; to begin it twice is to begin it once, and so with the end."""
    before = state(cloud)
    for _ in range(2):
        done = run("break", situation, VEND_CONTROL=cloud.control)
        assert done.stdout.startswith(f"{situation}: {SITUATIONS[situation][0]}\n")
        changed = {name for name, value in state(cloud).items() if value != before[name]}
        assert changed == {situation}
    for _ in range(2):
        assert (
            run("mend", situation, VEND_CONTROL=cloud.control).stdout
            == f"{situation} has ended; what you have changed meanwhile stays.\n"
        )
        assert state(cloud) == before


def test_a_situation_ends_by_itself(cloud: LocalCloud) -> None:
    """The local cloud ends it, as it mends a part; another time takes the place of the first."""
    url = f"{cloud.control}/rehearsals/firewall"
    for lasts in (3600, 0.05):
        assert httpx.put(url, json={"lasts_seconds": lasts}).json() == {"running": True}
    assert cloud.vault.app.closed
    until = time.monotonic() + 10
    while httpx.get(f"{cloud.control}/rehearsals").json()["firewall"]["running"] and time.monotonic() < until:
        pass
    assert cloud.vault.app.closed is None


def test_the_files_of_a_run_are_spoiled_and_mended(run: Run, site: Site) -> None:
    """The document and the keys of the host are as before, but for what an operator has made meanwhile."""
    assert site.cloud.rehearsals.names == SITUATIONS.keys()
    document, file = site.folder / "callers.toml", site.folder / "host.keys.json"
    good, keys = document.read_bytes(), KeyFile(file)
    held = keys.read()
    for situation in ("callers", "keys"):
        assert run("break", situation, VEND_CONTROL=site.cloud.control).exit_code == 0
    assert run("check", VEND_CONFIG=str(site.folder / "vend.toml")).exit_code == 1
    assert "vend-billing" not in keys.read().functionKeys
    keys.set(None, "vend-new", "made meanwhile")
    for situation in ("callers", "keys"):
        assert run("mend", situation, VEND_CONTROL=site.cloud.control).exit_code == 0
    assert document.read_bytes() == good
    assert keys.read().functionKeys == held.functionKeys | {"vend-new": "made meanwhile"}
    keys.delete(None, "vend-new")
    assert keys.read() == held


@pytest.mark.parametrize("situation", ["callers", "document", "entry", "grants"])
def test_a_document_that_was_spoiled_keeps_what_others_write(run: Run, site: Site, situation: str) -> None:
    """Mended, it is as before. A change from meanwhile stays, and so does a document that took the place of another."""
    document = site.folder / "callers.toml"
    good = document.read_bytes()
    for changed in (b"", b"\n# Ann was here.\n"):
        assert run("break", situation, VEND_CONTROL=site.cloud.control).exit_code == 0
        before = document.read_bytes() if document.exists() else b""
        assert before != good
        if changed:
            document.write_bytes((before or good) + changed)
        assert run("mend", situation, VEND_CONTROL=site.cloud.control).exit_code == 0
        assert document.read_bytes() == good + changed
    document.write_bytes(good)


@pytest.mark.parametrize("situation", ["callers", "document", "entry", "grants"])
def test_without_a_document_there_is_none_to_spoil(run: Run, site: Site, situation: str) -> None:
    """It is told, and the situation has not begun."""
    document = site.folder / "callers.toml"
    held = document.read_bytes()
    document.unlink()
    done = run("break", situation, VEND_CONTROL=site.cloud.control)
    document.write_bytes(held)
    assert (done.exit_code, f"{document} is not there" in done.stderr) == (1, True)
    assert not httpx.get(f"{site.cloud.control}/rehearsals").json()[situation]["running"]


def test_what_is_not_the_local_cloud_is_told_so(run: Run, oracle: tuple[Oracle, str]) -> None:
    """Another server on that port is no reason for a traceback."""
    serving, url = oracle
    serving.answer = Response("<html>")
    done = run("mend", "entra", "--control", url)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (1, "entra: this is not the local cloud")
