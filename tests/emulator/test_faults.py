import json
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind, Switch
from emulator.network.flaws import Flaw
from emulator.seed import TENANT_ID


@pytest.fixture
def entra(cloud: LocalCloud) -> Iterator[Switch]:
    """The switch of the local Entra, off again after the test."""
    switch = cloud.faults["entra"]
    yield switch
    switch.clear()


@pytest.fixture
def url(cloud: LocalCloud) -> str:
    """A page of the local Entra that anyone can read."""
    return f"{cloud.authority}/{TENANT_ID}/discovery/v2.0/keys"


def exchange(url: str, trust: ssl.SSLContext) -> tuple[bytes, OSError | None]:
    """Make one GET on a raw socket and read until the end, orderly or not."""
    parts = httpx.URL(url)
    received = b""
    with (
        socket.create_connection(("127.0.0.1", parts.port or 443), timeout=5) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as conversation,
    ):
        conversation.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        try:
            while chunk := conversation.recv(4096):
                received += chunk
        except OSError as error:
            return received, error
    return received, None


def rest(conversation: ssl.SSLSocket) -> bytes:
    """Read to the end."""
    return b"".join(iter(lambda: conversation.recv(4096), b""))


def test_a_part_that_refuses_has_no_listener_and_comes_back_on_its_port(
    http: httpx.Client, entra: Switch, url: str
) -> None:
    """`refuse` ends live connections and refuses new ones until switched off; then the same address works again."""
    assert http.get(url).status_code == 200  # and leaves a live connection behind
    entra.set(Fault(kind=Kind.REFUSE))

    # The first attempt may find the live connection dead, which the pool then drops; the second is a new one.
    with pytest.raises(httpx.TransportError):
        http.get(url)
    with pytest.raises(httpx.ConnectError):
        http.get(url)
    entra.clear()

    assert http.get(url).status_code == 200


def test_a_live_connection_is_reset_when_its_part_refuses(entra: Switch, url: str, trust: ssl.SSLContext) -> None:
    """The peer of a connection that was open before sees a reset, not an orderly end."""
    port = httpx.URL(url).port or 443
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as conversation,
    ):
        conversation.sendall(f"GET {httpx.URL(url).path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert conversation.recv(12) == b"HTTP/1.1 200"
        entra.set(Fault(kind=Kind.REFUSE))

        with pytest.raises(ConnectionResetError):
            rest(conversation)


@pytest.mark.parametrize("after_bytes", [0, 9, 200])
def test_a_cut_answer_has_so_many_bytes_and_no_end(
    after_bytes: int, entra: Switch, url: str, trust: ssl.SSLContext
) -> None:
    """`cut` passes exactly `after_bytes` of HTTP and resets; the bytes of TLS do not count."""
    entra.set(Fault(kind=Kind.CUT, after_bytes=after_bytes))

    received, error = exchange(url, trust)

    assert len(received) == after_bytes
    assert b"HTTP/1.1 200 OK"[:after_bytes] in received
    assert isinstance(error, ConnectionResetError)


def test_a_fault_happens_as_often_as_asked(http: httpx.Client, entra: Switch, url: str) -> None:
    """`times` counts down, then the part is itself again; `taken` counts up and tells a test how often it was hit."""
    before = entra.taken
    entra.set(Fault(kind=Kind.STATUS, status=429, headers={"Retry-After": "7"}, body="slow down", times=2))

    answers = [http.get(url) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].headers["retry-after"], answers[0].text) == ("7", "slow down")
    assert entra.taken - before == 2


def test_a_connection_fault_counts_connections(http: httpx.Client, entra: Switch, url: str) -> None:
    """The connection after the last cut one is whole, also when the client keeps connections alive."""
    http.get(url)
    entra.set(Fault(kind=Kind.CUT, times=1))

    with pytest.raises(httpx.TransportError):
        http.get(url)

    assert http.get(url).status_code == 200


def test_garbage_says_it_is_json_and_is_not(http: httpx.Client, entra: Switch, url: str) -> None:
    """A proxy's error page with status 200: only who parses it notices."""
    entra.set(Fault(kind=Kind.GARBAGE))

    answer = http.get(url)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


def test_a_request_in_a_black_hole_hears_nothing(entra: Switch, url: str, trust: ssl.SSLContext) -> None:
    """New connections are accepted and then silent, before TLS; one that was live falls silent too."""
    with httpx.Client(verify=trust, timeout=0.2) as live, httpx.Client(verify=trust, timeout=0.2) as new:
        live.get(url)
        entra.set(Fault(kind=Kind.BLACK_HOLE))

        with pytest.raises(httpx.ReadTimeout):
            live.get(url)
        with pytest.raises(httpx.ConnectTimeout):  # TCP connects; the handshake does not come
            new.get(url)
        entra.clear()

        assert [client.get(url).status_code for client in (live, new)] == [200, 200]


def test_a_delayed_answer_is_the_real_one_late(http: httpx.Client, entra: Switch, url: str) -> None:
    """`delay` holds the request back for its seconds."""
    entra.set(Fault(kind=Kind.DELAY, seconds=0.3, times=1))
    start = time.monotonic()

    answer = http.get(url)

    assert time.monotonic() - start >= 0.3
    assert answer.json()["keys"]


def test_a_dripping_answer_never_idles_and_ends_when_switched_off(http: httpx.Client, entra: Switch, url: str) -> None:
    """At 200 bytes a second the headers alone take most of one; switched off, the rest comes at once and is whole."""
    entra.set(Fault(kind=Kind.DRIP, bytes_per_second=200))
    start = time.monotonic()

    with http.stream("GET", url, timeout=2) as answer:
        reached = time.monotonic() - start
        entra.clear()
        answer.read()

    assert reached >= 0.3
    assert answer.json()["keys"]


def test_a_drip_can_begin_within_the_body(http: httpx.Client, entra: Switch, url: str) -> None:
    """With `after_bytes` headers and the first of the body come at full speed: a client is past its first byte."""
    entra.set(Fault(kind=Kind.DRIP, bytes_per_second=10, after_bytes=400))
    with http.stream("GET", url, timeout=2) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        entra.clear()
        body = first + b"".join(chunks)

    assert 1 < len(first) < len(body)
    assert json.loads(body)["keys"]


def test_an_endless_answer_ends_with_its_client(http: httpx.Client, entra: Switch, url: str) -> None:
    """`endless` never completes; it stops when the client hangs up, or when it is switched off."""
    entra.set(Fault(kind=Kind.ENDLESS))
    with http.stream("GET", url) as answer:
        chunks = answer.iter_raw(65536)
        read = sum(len(next(chunks)) for _ in range(100))
    with http.stream("GET", url) as another:
        chunks = another.iter_raw()
        next(chunks)
        entra.clear()
        rest = b"".join(chunks)

    assert (answer.status_code, read) == (200, 6_553_600)
    assert not rest.strip()


def test_endless_headers_end_with_their_client(
    http: httpx.Client, entra: Switch, url: str, trust: ssl.SSLContext
) -> None:
    """`endless_headers` never gets to a body: a client gives up or, once it is switched off, sees a reset."""
    entra.set(Fault(kind=Kind.ENDLESS_HEADERS, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(url)
    entra.set(Fault(kind=Kind.ENDLESS_HEADERS, lasts_seconds=0.3))
    received, error = exchange(url, trust)

    assert received.startswith(b"HTTP/1.1 200 OK\r\nx-padding: 1\r\n")
    assert b"\r\n\r\n" not in received
    assert isinstance(error, ConnectionResetError)
    assert http.get(url).status_code == 200


def test_held_requests_wait_until_they_are_released(http: httpx.Client, entra: Switch, url: str) -> None:
    """`hold` keeps every request, and a test knows when all have come: so it proves what waits for what."""
    entra.set(Fault(kind=Kind.HOLD))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(http.get, url) for _ in range(3)]
        entra.wait_for(3)
        done_before = [answer.done() for answer in answers]
        entra.clear()

        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert done_before == [False, False, False]
    assert entra.waiting == 0


def test_a_hold_lets_go_when_enough_wait(http: httpx.Client, entra: Switch, url: str) -> None:
    """With `until` the last one expected releases all, and the part is itself again."""
    entra.set(Fault(kind=Kind.HOLD, until=2))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(http.get, url) for _ in range(2)]

        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert http.get(url).status_code == 200


def test_a_fault_ends_by_itself(http: httpx.Client, entra: Switch, url: str) -> None:
    """After `lasts_seconds` the part is itself again, and what was held goes on: nobody has to remember to mend it."""
    entra.set(Fault(kind=Kind.HOLD, lasts_seconds=0.01))
    assert http.get(url).status_code == 200
    assert entra.current is None


def test_the_end_of_a_fault_is_not_that_of_the_next(cloud: LocalCloud, http: httpx.Client, entra: Switch) -> None:
    """What was switched on in its place goes on when the time of the first is over."""
    entra.set(Fault(kind=Kind.REFUSE, lasts_seconds=0.005))
    entra.set(Fault(kind=Kind.REFUSE))
    cloud.faults["vault"].set(Fault(kind=Kind.HOLD, lasts_seconds=0.3))
    http.get(cloud.vault_url)  # is held until both times are over
    assert entra.current == Fault(kind=Kind.REFUSE)


def test_faults_are_driven_from_outside(cloud: LocalCloud, http: httpx.Client, entra: Switch, url: str) -> None:
    """PUT switches on, GET shows, DELETE switches off: what `vend break` and tests in other languages use."""
    fault = {"kind": "status", "status": 503, "lasts_seconds": 600, "times": 5, "headers": {}, "body": "busy"}
    control = f"{cloud.control}/faults"
    before = entra.taken

    put = httpx.put(f"{control}/entra", json=fault)
    hit = http.get(url).status_code
    shown = httpx.get(control).json()
    deleted = httpx.delete(f"{control}/entra").json()

    assert (put.status_code, hit, http.get(url).status_code) == (200, 503, 200)
    assert shown == {
        "entra": {"fault": fault, "waiting": 0, "taken": before + 1},
        "identity": {"fault": None, "waiting": 0, "taken": cloud.faults["identity"].taken},
        "blob": {"fault": None, "waiting": 0, "taken": cloud.faults["blob"].taken},
        "graph": {"fault": None, "waiting": 0, "taken": cloud.faults["graph"].taken},
        "issuer": {"fault": None, "waiting": 0, "taken": cloud.faults["issuer"].taken},
        "management": {"fault": None, "waiting": 0, "taken": cloud.faults["management"].taken},
        "vault": {"fault": None, "waiting": 0, "taken": cloud.faults["vault"].taken},
    }
    assert deleted["fault"] is None


@pytest.mark.parametrize(
    ("fault", "explanation"),
    [
        ({"kind": "flood"}, "kind must be one of refuse, cut, "),
        ({"kind": ["cut"]}, "kind must be one of"),
        ({}, "kind must be one of"),
        ([], "must be a JSON object"),
        ({"kind": "refuse", "times": 2}, "refuse takes lasts_seconds, not times"),
        ({"kind": "delay", "second": 2}, "delay takes lasts_seconds, times, seconds, not second"),
        ({"kind": "delay"}, "delay needs seconds"),
        ({"kind": "delay", "seconds": -1}, "seconds must be a number, 0 to inf"),
        ({"kind": "cut", "after_bytes": 1.5}, "after_bytes must be a whole number"),
        ({"kind": "cut", "after_bytes": True}, "after_bytes must be a whole number"),
        ({"kind": "status", "status": 1000}, "status must be a whole number, 200 to 599"),
        ({"kind": "status", "status": 503, "headers": {"a": 1}}, "headers must be an object of strings"),
        ({"kind": "tls", "flaw": ["expired"]}, "flaw must be one of expired, wrong_host"),
        ({"kind": "garbage", "body": {}}, "body must be a string"),
    ],
    ids=str,
)
def test_a_fault_that_is_not_understood_is_refused_with_help(
    cloud: LocalCloud,
    entra: Switch,
    fault: object,
    explanation: str,
) -> None:
    """A mistyped fault would make a test pass that tests nothing: 400, what is wrong, and nothing is switched on."""
    answer = httpx.put(f"{cloud.control}/faults/entra", json=fault)

    assert answer.status_code == 400
    assert explanation in answer.json()["error"]
    assert entra.current is None


def test_an_unknown_part_is_answered_with_the_known_ones(cloud: LocalCloud) -> None:
    """The names of the parts need not be looked up."""
    answer = httpx.put(f"{cloud.control}/faults/sql", json={"kind": "refuse"})

    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "the parts are blob, entra, graph, identity, issuer, management, vault"},
    )


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (Flaw.EXPIRED, "certificate has expired"),
        (Flaw.WRONG_HOST, "Hostname mismatch"),
        (Flaw.UNKNOWN_ROOT, "unable to get local issuer certificate"),
        (Flaw.OLD_VERSION, "protocol"),
        (Flaw.CUT_OFF, "EOF"),
    ],
)
def test_a_handshake_can_go_wrong(
    http: httpx.Client, entra: Switch, url: str, trust: ssl.SSLContext, flaw: Flaw, complaint: str
) -> None:
    """Each flaw is one that a client must refuse, on new connections and, as those are reset, on every one."""
    http.get(url)
    entra.set(Fault(kind=Kind.TLS, flaw=flaw, times=1))

    with pytest.raises(ssl.SSLError, match=complaint):
        exchange(url, trust)

    assert http.get(url).status_code == 200
