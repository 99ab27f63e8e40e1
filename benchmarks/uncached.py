"""Target 9: what a client adds to the way to Entra and back, over TLS on a connection that is kept."""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count
from types import MappingProxyType
from urllib.parse import urlsplit

from benchmarks import libraries
from benchmarks.bare_entra import BareEntra
from benchmarks.elsewhere import Address
from benchmarks.libraries import Tally
from benchmarks.ours import KEY, SCOPE, entra, way_out
from benchmarks.rows import AZURE, AZURE_AIO, MSAL, VEND, Goal, Row, Scale, compared
from benchmarks.timing import by_turns, each, each_awaited, medians
from emulator.network.serve import HOST, Background
from emulator.seed import CLIENT_ID, TENANT_ID
from shared.core.entra.assertion import assertion_fields
from shared.core.entra.token_request import token_request
from shared.core.token import Wanted
from tests.emulator.client import key_pair

SOCKET = "socket"
DAY = 86_400
ASSERTION = 750  # bytes, about what one has
WARM_UP = 3

type TimeEach = Callable[[int], float]
type Make = Callable[[Address, ExitStack], TimeEach]


def rows(scale: Scale) -> list[Row]:
    """Time one acquisition, and take off what a bare socket takes for the same bytes."""
    with BareEntra() as bare:
        contenders = {name: partial(_round, make, bare.address, scale.pick(40, 3)) for name, make in MAKERS.items()}
        # More rounds than elsewhere: the difference between two noisy figures is noisier than either.
        took = medians(by_turns(contenders, scale._replace(rounds=scale.pick(15, 1))))
    return [
        compared(
            {name: figure - took[SOCKET] for name, figure in took.items() if name != SOCKET},
            row_id="uncached",
            what=f"Time to get a token from Entra, minus the {took[SOCKET]:.0f} us that a bare TLS socket takes",
            unit="us",
            against=MSAL,
            goal=Goal("ratio", "<=", 0.9),
        )
    ]


def _round(make: Make, address: Address, times: int) -> float:
    """Time a fresh client, for the libraries search through all that they have kept before they ask Entra."""
    with ExitStack() as stack:
        time_each = make(address, stack)
        time_each(WARM_UP)  # connections and signatures are made here
        return time_each(times)


def _fresh[T](get: Callable[[str], T]) -> Callable[[], T]:
    """Ask for another scope each time, so that no cache has it."""
    numbers = count()
    return lambda: get(f"api://{next(numbers)}/.default")


def _msal(address: Address, stack: ExitStack) -> TimeEach:
    return partial(each, _fresh(libraries.msal_app(address, stack, tally=Tally())))


def _azure(address: Address, stack: ExitStack) -> TimeEach:
    return partial(each, _fresh(libraries.azure(address, stack, tally=Tally())))


def _azure_aio(address: Address, stack: ExitStack) -> TimeEach:
    loop = stack.enter_context(Background())
    get = _fresh(libraries.azure_aio(address, stack, tally=Tally(), loop=loop))
    return lambda times: loop.run(each_awaited(get, times))


def _vend(address: Address, stack: ExitStack) -> TimeEach:
    loop = stack.enter_context(Background())
    http = way_out(address.authority, address.ca_file)
    stack.callback(lambda: loop.run(http.aclose()))
    now = time.time()
    acquire = partial(
        entra(address.authority, key=key_pair(starts=now - DAY, ends=now + DAY), post=http.post).acquire,
        Wanted(KEY, flight_id="id-7"),
    )
    return lambda times: loop.run(each_awaited(acquire, times))


def _socket(address: Address, stack: ExitStack) -> TimeEach:
    """Send a request of the usual size, and read its answer, by nothing but the standard library's sockets."""
    port = urlsplit(address.authority).port
    assert port is not None
    trust = ssl.create_default_context(cafile=str(address.ca_file))
    plain = stack.enter_context(socket.create_connection((HOST, port)))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = stack.enter_context(trust.wrap_socket(plain, server_hostname="localhost"))
    form = token_request(client_id=CLIENT_ID, scope=SCOPE, proof=assertion_fields("x" * ASSERTION), claims=None)
    head = f"POST /{TENANT_ID}/oauth2/v2.0/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(form)}\r\n\r\n"
    request = head.encode() + form
    answer = len(_answer_to(connection, request))

    def call() -> None:
        connection.sendall(request)
        left = answer
        while left:
            left -= len(connection.recv(left))

    return partial(each, call)


def _answer_to(connection: ssl.SSLSocket, request: bytes) -> bytes:
    """Read one whole answer, to know how long they are."""
    connection.sendall(request)
    answer = connection.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        more = connection.recv(65_536)
        answer, body = answer + more, body + more
    return answer


MAKERS: Mapping[str, Make] = MappingProxyType(
    {SOCKET: _socket, VEND: _vend, MSAL: _msal, AZURE: _azure, AZURE_AIO: _azure_aio}
)
