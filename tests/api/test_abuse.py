"""Bad input, at every route: the driver of the cases of tests/data/abuse.toml."""

import gzip
import hashlib
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from emulator.cloud import LocalCloud
from emulator.tour.site import Site
from shared.api.routes import ROUTES
from tests.api.abuse import BAD_INPUT, KINDS, UNSEEN, BadInput, proofs
from tests.api.doors import CHALLENGES_PER_MINUTE, FLOOR, KEYS, AppDoor, Door, HostDoor, Told, opened
from tests.clock import FakeClock
from tests.contract import conforms, event_conforms
from tests.in_process import GRAPH_SCOPE
from tests.tables import DATA
from tests.wire import WAYS, Change, basic, wire, with_texts

ROWS = {
    *range(1, 24), 26, 33, 35, 36, 38, 39, *range(41, 46), 47, 48, 49, 51, 52, 53, 55, 56, 58, *range(63, 69), 71, 72,
    75, 76, 77, 79, 85, *range(87, 91), 92, 93, 94, 96, 98,
}  # fmt: skip
ROUTE = {route.name: route for route in ROUTES}


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
    # The operator sees the scope that was asked for. A token may have any four letters in a row.
    assert not any(host in answer for host in ("evil.example", "evil。example"))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("claims", "most"),
    [('{"access_token":{"acrs":{"value":"#"}}}', CHALLENGES_PER_MINUTE), ('{"access_token":{"nbf":{"value":"#"}}}', 1)],
    ids=["acrs", "nbf"],
)
def test_a_flood_of_claims_costs_few_requests(app_door: AppDoor, claims: str, most: int) -> None:
    """ABU-65: of 10,000 different challenges of a caller some a minute go further, and one `nbf` answers all others."""
    flights, statuses = app_door.flights, Counter[int]()
    good = wire(Change(key="hurried", fields={"claims": claims}), "token", KEYS).incoming()

    async def flood() -> None:
        for number in range(10_000):
            sent = replace(good, body=good.body.replace(b"%23", b"%d" % number))
            statuses[(await app_door.app.send("token", sent)).status] += 1

    app_door.clock.tick(60)
    app_door.runner.run(flood())
    assert statuses == {200: CHALLENGES_PER_MINUTE, 429: 10_000 - CHALLENGES_PER_MINUTE}
    assert app_door.flights - flights <= most
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
