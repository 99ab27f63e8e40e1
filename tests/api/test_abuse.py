"""Bad input, at every route: the driver of the cases of tests/data/abuse.toml."""

import asyncio
import gzip
import hashlib
import json
import re
import tracemalloc
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from emulator.cloud import LocalCloud
from emulator.seed import CERTIFICATE
from emulator.tour.site import Site
from shared.api.routes import ROUTES
from tests.api.abuse import BAD_INPUT, KINDS, UNSEEN, BadInput, Kind, proofs
from tests.clock import FakeClock
from tests.contract import conforms, event_conforms
from tests.in_process import GRAPH_SCOPE, KEY, ORDERS_SCOPE, App
from tests.tables import DATA
from tests.wire import WAYS, Change, Wire, basic, exchange, wire, with_texts

ROWS = {
    *range(1, 24), 26, 33, 35, 36, 38, 39, *range(41, 46), 47, 48, 49, 51, 52, 53, 55, 56, 58, *range(63, 69), 71, 72,
    75, 76, 77, 79, 85, *range(87, 91), 92, 93, 94, 96, 98,
}  # fmt: skip
ROUTE = {route.name: route for route in ROUTES}
REFUSED_BY_ENTRA = "api://refused/.default"
OTHERS = {"client_id": "22222222-2222-2222-2222-222222222222", "tenants": ["11111111-1111-1111-1111-111111111111"]}
FLOOR = 0.5
HURRIED_PER_MINUTE = 100
NAMES = ("billing", "orders", "expired", "nothing", "hurried", "unknown", "default")
KEYS = {name: f"a-function-key-of-{name}" for name in NAMES} | {
    "second of billing": "another-function-key-of-billing",
    "colon": "a:function:key:of:colon",
    "plus": "a+function+key+of+plus%",
    "escape": "a-function-key-of-%65scape",
    "changed": KEY[:-1] + chr(ord(KEY[-1]) ^ 1),
    "shorter": KEY[:-1],
    "twice": f"{KEY},{KEY}",
    "first of two": f"{KEY},a-function-key-of-nobody",
    "second of two": f"a-function-key-of-nobody,{KEY}",
}


class Told(NamedTuple):
    """An answer as it came; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain(self) -> tuple[int, Mapping[str, str], str]:
        """All of it but the correlation id."""
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", self.body.decode())
        return self.status, {name: value for name, value in self.headers.items() if name != "date"}, text


class Door(ABC):
    """Where requests are sent to.

    Args:
        cloud: that the app talks to.
        keys: by the names that cases call them by.
    """

    def __init__(self, cloud: LocalCloud, keys: Mapping[str, str]) -> None:
        self.cloud = cloud
        self.keys = keys
        self.model = cache(self._model)

    @abstractmethod
    def send(self, sent: Wire, way: str) -> Told:
        """Send a request and take its answer."""

    @abstractmethod
    def log(self) -> list[str]:
        """List what the app has logged since this was last asked."""

    @property
    @abstractmethod
    def flights(self) -> int:
        """How often the app has set out for Entra."""

    def _model(self, way: str, kind: Kind) -> Told:
        return self.send(wire(KINDS[kind][2], way, self.keys), way)


class AppDoor(Door):
    """The app itself, on an event loop that outlives a test."""

    def __init__(self, cloud: LocalCloud, clock: FakeClock, app: App, runner: asyncio.Runner) -> None:
        super().__init__(cloud, KEYS)
        self.clock = clock
        self.app = app
        self.runner = runner

    def send(self, sent: Wire, way: str) -> Told:
        """Hand a request over as the host does, a second after the one before."""
        self.clock.tick(1)
        return self.at_once(sent, way)

    def at_once(self, sent: Wire, way: str) -> Told:
        """Do the same in no time."""
        answer = self.runner.run(self.app.send(way.split(maxsplit=1)[0], sent.incoming()))
        return Told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def log(self) -> list[str]:
        """Take the lines."""
        lines, self.app.lines[:] = list(self.app.lines), []
        return lines

    @property
    def flights(self) -> int:
        """Ask the cache, which knows of those that Entra never saw."""
        return self.app.flights


class HostDoor(Door):
    """The app behind its host, over a socket on which nobody tidies up."""

    def __init__(self, site: Site) -> None:
        store = json.loads((site.folder / "host.keys.json").read_text())
        keys = {**store["functionKeys"], "_master": store["master"]}
        keys |= {
            "changed": site.key[:-1] + chr(ord(site.key[-1]) ^ 1),
            "of another function": store["functions"]["msi_token"]["default"],
        }
        super().__init__(site.cloud, keys)
        self._log = site.folder / "app.log"
        self._seen = 0
        self._port = int(site.app.url.rpartition(":")[2])

    def send(self, sent: Wire, way: str) -> Told:  # noqa: ARG002  # the path says it
        """Send the octets, and read until the host closes."""
        head, _, body = exchange(sent, self._port).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(headers) == len(lines)
        return Told(
            int(first.split()[1]), {name: value for name, value in headers.items() if name != "connection"}, body
        )

    def log(self) -> list[str]:
        """Read on in the file."""
        with self._log.open("rb") as file:
            file.seek(self._seen)
            found = file.read()
        self._seen += len(found)
        return found.decode().splitlines()

    @property
    def flights(self) -> int:
        """Ask Entra."""
        return len(self.cloud.entra.requests)


@pytest.fixture(scope="module")
def app_door(
    tmp_path_factory: pytest.TempPathFactory, timeless: LocalCloud, fake_clock: FakeClock
) -> Iterator[AppDoor]:
    """Open the app with its token for Graph in the cache."""
    with opened(timeless, fake_clock, tmp_path_factory.mktemp("abuse")) as door:
        yield door


@pytest.fixture(scope="module")
def open_door(
    tmp_path_factory: pytest.TempPathFactory, timeless: LocalCloud, fake_clock: FakeClock
) -> Iterator[AppDoor]:
    """Open the same with an entry for everybody."""
    everybody = f'[callers."*"]\nallow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}"] }}]\n'
    with opened(timeless, fake_clock, tmp_path_factory.mktemp("open"), more=everybody) as door:
        yield door


@contextmanager
def opened(cloud: LocalCloud, clock: FakeClock, folder: Path, *, more: str = "") -> Iterator[AppDoor]:
    """Open an app with its token for Graph in the cache; `more` stands in its callers document."""
    credential = f'{{ type = "certificate", vault = "{cloud.vault_url}", name = "{CERTIFICATE}" }}'
    others = f'tenants = {OTHERS["tenants"]}, client_id = "{OTHERS["client_id"]}", credentials = [{credential}]'
    # What is shrunken is over at the next request.
    settings = f"""\
app_checked_routes = true
limits.forced_refresh_interval_seconds = {FLOOR}
limits.failure_permanent_seconds = 0.5
profiles.private = {{ scopes = ["api://private/.default"], vendable = false, {others} }}
profiles.other = {{ scopes = ["api://other/.default"], {others} }}
"""
    with asyncio.Runner() as runner:
        app = App(cloud, clock, folder, scopes=(GRAPH_SCOPE, ORDERS_SCOPE, REFUSED_BY_ENTRA), settings=settings)
        write_callers(folder, more=more)
        runner.run(app.__aenter__())
        assert runner.run(app.ask()).status == 200
        door = AppDoor(cloud, clock, app, runner)
        door.log()
        yield door
        runner.run(app.__aexit__(None, None, None))


def write_callers(folder: Path, *, more: str = "") -> None:
    """Write who calls; beside `billing` there is one with something else, one with nothing, and one that was."""
    graph = f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}"] }}]'
    entries = {
        "billing": f'allow = [{{ profile = "graph", scopes = ["{GRAPH_SCOPE}", "{REFUSED_BY_ENTRA}"] }}]',
        "orders": f'allow = [{{ profile = "graph", scopes = ["{ORDERS_SCOPE}"] }}]',
        "nothing": "",
        "expired": f"not_after = 2020-01-01T00:00:00Z\n{graph}",
        "hurried": f"per_worker_per_minute = {HURRIED_PER_MINUTE}\n{graph}",
        "colon": graph,
        "plus": graph,
        "escape": graph,
    }
    for name, lines in entries.items():
        keys = [key for known, key in KEYS.items() if known in {name, f"second of {name}"}]
        digests = json.dumps([hashlib.sha256(key.encode()).hexdigest() for key in keys])
        more += f"[callers.{name}]\nkey_sha256 = {digests}\n{lines}\n"
    (folder / "callers.toml").write_text(more)


@pytest.fixture(scope="module")
def host_door(site: Site) -> HostDoor:
    """Open the host, with the token for Graph in the app's cache."""
    door = HostDoor(site)
    assert door.send(wire(Change(), "token", door.keys), "token").status == 200
    return door


def is_stranger_to_the_app_alone(case: BadInput, way: str) -> bool:
    """Tell whether a case is refused for want of a key, on a route whose keys the host does not check."""
    return case.kind in {"stranger", "silent"} and not ROUTE[way.split(maxsplit=1)[0]].host_checked


@pytest.mark.parametrize(("case", "way"), proofs(at_the_host=False))
def test_bad_input(app_door: AppDoor, case: BadInput, way: str) -> None:
    """Each request has the answer of its row, to the letter, and what is wrong with it goes no further."""
    prove_each(app_door, case, way)


@pytest.mark.parametrize(
    ("case", "way"), [proof for proof in proofs(at_the_host=False) if is_stranger_to_the_app_alone(*proof.values)]
)
def test_an_entry_for_everybody_is_for_those_whom_the_host_let_in(open_door: AppDoor, case: BadInput, way: str) -> None:
    """FND-H1: with `"*"` in the document, no stranger is everybody where the app alone checks the key."""
    prove_each(open_door, case, way)


def test_an_entry_for_everybody_is_in_force(open_door: AppDoor) -> None:
    """FND-H1: the same key is a caller's on the route whose keys the host checks."""
    ways = [wire(Change(key="unknown"), way, open_door.keys) for way in ("token", "msi/token")]
    assert [open_door.send(sent, way).status for sent, way in zip(ways, ("token", "msi/token"), strict=True)] == [
        200,
        401,
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "way"), proofs(at_the_host=True))
def test_bad_input_at_the_host(host_door: HostDoor, case: BadInput, way: str) -> None:
    """The same through the host, where paths, methods, repeated headers and the host's own key check matter."""
    prove_each(host_door, case, way)


def prove_each(door: Door, case: BadInput, way: str) -> None:
    """Send a case with each of its texts."""
    for text in case.each:
        try:
            prove(door, with_texts(case, {"{each}": text}), way)
        except AssertionError as failed:
            failed.add_note(f"each = {text!a}")
            raise


def prove(door: Door, case: BadInput, way: str) -> None:
    """Send a case and compare all that can be seen of its answer."""
    model = door.model(way, case.kind) if case.kind else None
    door.log()
    flights = door.flights
    told = door.send(wire(case, way, door.keys), way)
    lines = door.log()
    status, error = KINDS[case.kind][:2] if case.kind else (case.status, case.error)
    assert told.status == status, told.body
    assert door.flights - flights == case.entra
    if case.sends is not None:
        assert door.cloud.entra.requests[-1].claims == case.sends
    check_silence(told, lines, door.keys)
    if case.bare:
        assert (told.body, lines) == (b"", [])
        return
    route = way.split(maxsplit=1)[0]
    assert conforms(f"/api/{route}", case.method or ROUTE[route].method, *told) == []
    assert [fault for line in lines for fault in event_conforms(line)] == []
    assert told.headers.items() >= case.answers.items()
    (event,) = (event for event in map(json.loads, lines) if event["event"] == "token")
    assert (event["route"], event["status"]) == (route, status)
    assert case.reason in {None, event.get("reason")}
    if model:
        assert told.plain == model.plain
    elif told.body:
        check_body(told, error=error, hint=case.hint, way=way)
    if told.body:
        assert event["correlation_id"] in told.body.decode()


def check_body(told: Told, *, error: str | None, hint: str | None, way: str) -> None:
    """Compare what an answer says with what it should, in the form of its route."""
    body = json.loads(told.body)
    assert body.get("error") == error
    if error is None:
        return
    said = body["error_description"].partition("; ")[2] or None if way == "msi/token" else body.get("hint")
    assert (said is None) is (hint is None)
    assert str(said).startswith(hint or "")


def check_silence(told: Told, lines: list[str], keys: Mapping[str, str]) -> None:
    """Check that nothing of a request that is not vend's own comes back, or stays."""
    answer = f"{told.headers}{told.body.decode()}".lower()
    log = "".join(lines).lower()
    assert "canary" not in answer + log
    assert "evil" not in answer  # the operator sees the scope that was asked for
    for key in keys.values():
        for secret in (key, basic("billing", key)[6:]):
            assert secret.lower() not in answer + log


@pytest.mark.parametrize("way", ["token", "oauth2/token"])
def test_a_bomb_is_not_unpacked(app_door: AppDoor, way: str) -> None:
    """ABU-10: what would be 15 MiB is refused as it came, in less than one of memory."""
    plain = wire(Change(headers={"content-encoding": "gzip"}), way, app_door.keys)
    packed = replace(plain, body=gzip.compress(bytes(15 << 20)))
    tracemalloc.start()
    try:
        assert app_door.send(packed, way).status == 415
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_flood_of_claims_costs_one_request(app_door: AppDoor) -> None:
    """ABU-65: of 10,000 different challenges at once one reaches Entra; those over the rate go no further."""
    flights, statuses = app_door.flights, Counter[int]()
    claims = '{"access_token":{"nbf":{"value":"#"}}}'
    good = wire(Change(key="hurried", fields={"claims": claims}), "token", KEYS).incoming()

    async def flood() -> None:
        for number in range(10_000):
            sent = replace(good, body=good.body.replace(b"%23", b"%d" % number))
            statuses[(await app_door.app.send("token", sent)).status] += 1

    app_door.clock.tick(60)
    app_door.runner.run(flood())
    assert statuses == {200: HURRIED_PER_MINUTE, 429: 10_000 - HURRIED_PER_MINUTE}
    assert app_door.flights - flights == 1
    assert app_door.app.entries <= 2


def test_a_hash_in_a_loop_is_answered_from_the_cache(app_door: AppDoor) -> None:
    """ABU-66: who rejects every token gets a new one as often as the floor allows, and the cached one in between."""
    flights, last = app_door.flights, ""
    for _ in range(100):
        app_door.clock.tick(FLOOR / 4)
        change = Change(fields={"token_sha256_to_refresh": hashlib.sha256(last.encode()).hexdigest()})
        last = json.loads(app_door.at_once(wire(change, "token", app_door.keys), "token").body)["access_token"]
    assert 20 <= app_door.flights - flights <= 25


@pytest.mark.parametrize("way", WAYS)
def test_enough_denials_are_compared(way: str) -> None:
    """SEC-05: at least twenty reasons have the one answer of their kind, on each route, Entra's own among them."""
    denied = [case for case in BAD_INPUT if case.kind == "denied" and way in case.routes]
    assert sum(len(case.each) for case in denied) >= 20
    assert [case for case in denied if case.entra]


def test_every_row_is_proven() -> None:
    """Each row of bad input has a case, a test of its own that names it, or the reason why the platform answers it."""
    by_case = {row for case in BAD_INPUT for row in rows(case.id)}
    by_test = {row for file in DATA.parent.rglob("test_*.py") for row in rows(file.read_text())}
    platform = {row for case in UNSEEN if case.why for row in rows(case.id)}
    assert by_case | by_test | platform == ROWS
    assert not platform & (by_case | by_test)


def rows(text: str) -> list[int]:
    """List the rows that a text names."""
    return [int(number) for number in re.findall(r"ABU-(\d+)", text)]
