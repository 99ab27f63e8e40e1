"""`./vend break` and `./vend mend`."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from starlette.responses import Response

from cli.faults import KINDS, NOTICED
from emulator.cloud import PARTS, LocalCloud
from emulator.network.faults import Fault, Kind
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


@pytest.mark.parametrize("how", [*KINDS, "429", "503"])
def test_every_way_to_break_is_a_fault_of_the_local_cloud(run: Run, cloud: LocalCloud, how: str) -> None:
    """What this command offers, the control API takes; without a time it lasts until it is mended."""
    assert run("break", "vault", "--how", how, "--control", cloud.control).exit_code == 0
    fault = cloud.faults["vault"].current
    assert fault == (Fault(kind=Kind.STATUS, status=int(how)) if how.isdigit() else Fault(kind=Kind(how)))


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
        (("entra", "--how", "404"), "--how: must be refuse, black_hole, garbage, endless, 429, or a status"),
        (("sql",), "sql: the parts are blob, entra, graph, identity, issuer, management, vault"),
        (("../requests/entra",), "../requests/entra: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_breaks_nothing_and_is_told(run: Run, cloud: LocalCloud, words: tuple[str, ...], says: str) -> None:
    """The words that would be right, no traceback, and every part is whole."""
    done = run("break", *words, VEND_CONTROL=cloud.control)
    assert done.exit_code
    assert says in done.stderr
    assert [switch.current for switch in cloud.faults.values()] == [None] * len(PARTS)


def test_what_is_not_the_local_cloud_is_told_so(run: Run, oracle: tuple[Oracle, str]) -> None:
    """Another server on that port is no reason for a traceback."""
    serving, url = oracle
    serving.answer = Response("<html>")
    done = run("mend", "entra", "--control", url)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (1, "entra: this is not the local cloud")
