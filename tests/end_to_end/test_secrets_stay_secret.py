import base64
import json
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, POSTGRESQL, TENANT_ID
from emulator.tour.site import CALLER, ROOT, SCOPE, Site, start
from emulator.vault.policy import Policy
from emulator.witness import audience_of
from shared.core.request import ASSERTION_TYPE
from tests.adapters.database.postgresql_server import USER, PostgresqlServer
from tests.api.abuse import BAD_INPUT
from tests.contract import check
from tests.wire import EVERY_WAY, Change, Wire, basic, exchange, wire, with_texts

pytestmark = pytest.mark.slow

GRANT = {"grant_type": "client_credentials", "scope": SCOPE}
SENT_BY_MISTAKE = "a-secret-that-was-sent-by-mistake"
# One fault after the other: what the app remembers of the last is not to keep it from meeting the next.
FORGETFUL = dict.fromkeys(("failure_first_seconds", "failure_max_seconds", "failure_permanent_seconds"), 0.001)
# Each request with an unknown key leaves its line, however many there are.
TALKATIVE = {"unknown_keys_per_minute": 100_000}
SECONDS_TO_EXPORT = 20
SECONDS_TO_ROTATE = 20
REGISTERED = b'"event":"credential_registered"'
MISTAKEN = (
    "client_secret",
    "client_assertion",
    "password",
    "refresh_token",
    "assertion",
    "access_token",
    "code",
    "colour",
)
SHAPES = (re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"), re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY"))
# The app as it is, with every library telling all that it can, into a file of its own too: the host drops what plain
# threads say. And with metrics on, all of them written again and again.
LOUD_APP = """\
import logging
import os

from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

exporter = ConsoleMetricExporter(out=open(os.environ["LOUD_METRICS"], "w"))
set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=250)]))
logging.getLogger().addHandler(logging.FileHandler(os.environ["LOUD_LOG"]))
for name in ("asyncio", "azure", "httpcore", "httpx", "msal", "psycopg", "sqlalchemy", "urllib3", "vend"):
    logging.getLogger(name).setLevel(logging.DEBUG)

from deployed_app import app
"""


def forms(secret: str) -> Iterable[bytes]:
    """Every form in which a secret might have leaked; cut ones too, for a prefix is worth a lot."""
    raw = secret.encode()
    quoted = urllib.parse.quote(secret, safe="").encode()
    cut = (raw[:12], raw[-12:], *inside_base64(raw)) if len(raw) >= 24 else ()
    return {raw, base64.b64encode(raw), raw.hex().encode(), quoted, json.dumps(secret)[1:-1].encode(), *cut}


def inside_base64(raw: bytes) -> Iterable[bytes]:
    """Write what a secret looks like in the base64 of something larger, such as HTTP Basic, but for its ends."""
    for shift in range(3):
        inside = base64.b64encode(bytes(shift) + raw)[4:-4]
        yield from (inside, inside.replace(b"+", b"-").replace(b"/", b"_"))


def leaks(text: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Name each secret that a text holds in any form, and each thing of a secret's shape."""
    found = [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]
    return found + [shape.pattern.decode() for shape in SHAPES if shape.search(text)]


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer) -> Iterable[Site]:
    """The app at level DEBUG with the loggers of all libraries on, and its directory in PostgreSQL."""
    app = tmp_path_factory.mktemp("loud")
    (app / "function_app.py").write_text(LOUD_APP)
    (app / "deployed_app.py").symlink_to(ROOT / "function_app.py")
    (app / "shared").symlink_to(ROOT / "shared")
    settings = json.loads((ROOT / "host.json").read_text())
    settings["logging"]["logLevel"]["default"] = "Trace"
    (app / "host.json").write_text(json.dumps(settings))
    folder = tmp_path_factory.mktemp("loud-site")
    front, database = postgresql.front, postgresql.new_database()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        site = start(
            stack,
            folder,
            app_folder=app,
            store=f"postgresql://{USER}@localhost:{front.port}/{database.name}",
            limits={**FORGETFUL, **TALKATIVE},
            settings={
                "PYTHON_ENABLE_DEBUG_LOGGING": "1",
                "LOUD_LOG": str(folder / "loud.log"),
                "LOUD_METRICS": str(folder / "metrics.log"),
            },
        )
        with site.cloud.ca_file.open("ab") as roots:  # libpq reads them at each connection
            roots.write(postgresql.ca_file.read_bytes())
        verify = site.cloud.tokens.verify
        patch.setattr(front, "takes", lambda token: verify(token, audience=POSTGRESQL) is not None)
        yield site


@dataclass(frozen=True)
class Led:
    """What came of leading the app through everything that can go wrong: its refusals, and a token in the end.

    `passwords` are those that the database was sent.
    """

    refusals: bytes = field(repr=False)
    token: str = field(repr=False)
    passwords: Sequence[str] = field(repr=False)


@pytest.fixture(scope="module")
def led(loud: Site, postgresql: PostgresqlServer) -> Led:
    """Break each part in turn, send every kind of bad request, and secrets in every place where they do not belong."""
    refusals = [*broken_upstream(loud)]
    port = int(loud.app.url.rpartition(":")[2])
    for sent in bad_requests({"billing": loud.key, "token of billing": identity_token(loud)}):
        answer = exchange(sent, port)
        if not answer.startswith(b"HTTP/1.1 200 "):
            refusals.append(answer)
    refusals += by_identity(loud)
    rotate(loud)
    passwords = postgresql.front.passwords
    passwords.clear()
    refusals.append(synced(loud, postgresql))
    good = httpx.post(f"{loud.app.url}/api/token", headers={"x-functions-key": loud.key}, data=GRANT, timeout=60)
    assert good.status_code == 200, (loud.folder / "app.log").read_text()[-3000:]
    return Led(b"\n".join(refusals), good.json()["access_token"], tuple(passwords))


def by_identity(loud: Site) -> Iterator[bytes]:
    """Show an identity token and a forged one at every door, and beside the key of another caller."""
    good = identity_token(loud)
    forged = f"{good.rpartition('.')[0]}.{'A' * 86}"
    with httpx.Client(base_url=loud.app.url, trust_env=False, event_hooks={"response": [check]}, timeout=60) as client:
        for token, key, status in ((good, loud.key, 200), (forged, loud.key, 401), (good, loud.admin_key, 401)):
            headers = {"x-functions-key": key, "authorization": f"Bearer {token}"}
            answers = [client.post("/api/token", headers=headers, data=GRANT)]
            if key == loud.key:
                form = {**GRANT, "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
                doors = ("/api/oauth2/token", f"/api/entra/{TENANT_ID}/oauth2/v2.0/token")
                answers += [client.post(door, data=form) for door in doors]
            assert {answer.status_code for answer in answers} == {status}
            yield from (answer.content for answer in answers if status != 200)


def identity_token(loud: Site) -> str:
    """Read the identity token of the caller."""
    return (loud.folder / f"{CALLER}.token").read_text()


def broken_upstream(loud: Site) -> Iterator[bytes]:
    """Ask for a token while each part fails."""
    headers, hooks = {"x-functions-key": loud.key}, {"response": [check]}
    with httpx.Client(base_url=loud.app.url, headers=headers, trust_env=False, event_hooks=hooks) as client:
        for part, status in (("identity", 403), ("vault", 403), ("vault", 503), ("entra", 503), ("entra", 401)):
            fault = Fault(kind=Kind.STATUS, status=status, body=f'{{"error": "{SENT_BY_MISTAKE}"}}')
            loud.cloud.faults[part].set(fault)
            answer = client.post("/api/token", data=GRANT, timeout=60)
            assert answer.status_code in {502, 503}
            yield answer.content
            loud.cloud.faults[part].clear()


def rotate(loud: Site) -> None:
    """Have the app register a new version of its certificate, with a proof that its key has signed."""
    loud.cloud.vault.create_certificate(CERTIFICATE, Policy(subject="CN=vend", exportable=False))
    master = json.loads((loud.folder / "host.keys.json").read_text())["master"]
    url, headers = f"{loud.app.url}/admin/functions/certificate_rotation", {"x-functions-key": master}
    assert httpx.post(url, headers=headers, json={"input": ""}).status_code == 202
    deadline = time.monotonic() + SECONDS_TO_ROTATE
    while REGISTERED not in (loud.folder / "app.log").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def synced(loud: Site, postgresql: PostgresqlServer) -> bytes:
    """Copy the directory, first while the database takes no token; return what came of that."""
    headers, hooks = {"x-functions-key": loud.admin_key}, {"response": [check]}
    with httpx.Client(base_url=loud.app.url, headers=headers, trust_env=False, event_hooks=hooks) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postgresql.front, "takes", lambda _: False)
            refused = client.post("/api/sync", timeout=60)
        assert not refused.json()["complete"]
        done = client.post("/api/sync", timeout=60)
    assert done.json()["complete"], done.text
    return refused.content


def bad_requests(keys: Mapping[str, str]) -> Iterator[Wire]:
    """Make one request of each row of bad input, and those that hold a secret in a wrong place, by every way."""
    for case in BAD_INPUT:
        # Left out are those that are only large, and one spelling that fits no key but the table's.
        if case.body is None and not (case.basic and case.basic.spelled):
            for way in case.routes:
                yield wire(with_texts(case, {"{each}": case.each[0]}), way, keys)
    for way in EVERY_WAY:
        for secret in (SENT_BY_MISTAKE, *keys.values()):
            for name in MISTAKEN:
                yield wire(Change(query=urllib.parse.urlencode({name: secret})), way, keys)
                yield wire(Change(fields={name: secret}), way, keys)
                yield wire(Change(headers={name.replace("_", "-"): secret}), way, keys)
            fields = {"claims": secret, "tenant": secret, "client_id": secret}
            yield wire(Change(key=secret, fields=fields), way, keys)
            yield wire(Change(fields={"token_sha256_to_refresh": secret}), way, keys)
            yield wire(Change(method="BREW", query=f"code={secret}"), way, keys)
            headers = {"authorization": f"Bearer {secret}", "cookie": secret, "user-agent": secret}
            yield wire(Change(headers=headers), way, keys)
            yield wire(Change(headers={"content-type": secret}, name=secret), way, keys)


@pytest.fixture(scope="module")
def secrets(loud: Site, led: Led) -> Mapping[str, str]:
    """Everything that must be in no log, by what it is."""
    store = json.loads((loud.folder / "host.keys.json").read_text())
    return {
        "function key": loud.key,
        "HTTP Basic": basic("billing", loud.key).removeprefix("Basic "),
        "master key": store["master"],
        "identity header": loud.cloud.identity_header,
        "access token": led.token,
        "password of the database": led.passwords[-1],
        "identity token": identity_token(loud),
        "sent by mistake": SENT_BY_MISTAKE,
        "of the table of bad input": "canary",
    }


def test_no_log_holds_a_secret(loud: Site, secrets: Mapping[str, str]) -> None:
    """Whatever the app and its libraries tell at DEBUG, no secret, key, assertion or token is in it."""
    log = (loud.folder / "app.log").read_bytes() + (loud.folder / "loud.log").read_bytes()
    # httpcore's and SQLAlchemy's own words: without them the libraries were silent and this would prove nothing.
    assert b"send_request_headers" in log
    assert b"INSERT INTO directory_object" in log  # with the values
    assert log.count(b'"event":"token"') > 500
    assert REGISTERED in log  # Graph was sent a proof
    assert leaks(log, secrets) == []


def test_the_database_alone_gets_its_password(loud: Site, led: Led) -> None:
    """SEC-29: each connection proves itself by a token for databases, which no part of the cloud was sent."""
    assert {audience_of(password) for password in led.passwords} == {POSTGRESQL}
    assert loud.cloud.misdirected == []


def test_no_metric_holds_a_secret(loud: Site, secrets: Mapping[str, str]) -> None:
    """What is exported counts every kind of answer and every failure of upstream, by names that are no secret's."""
    file = loud.folder / "metrics.log"
    already, deadline = file.stat().st_size, time.monotonic() + SECONDS_TO_EXPORT
    # These are sums: one more export has all that was counted before it.
    while len(exported := file.read_bytes()) == already or not exported.endswith(b"\n}\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for counted in (b"vended", b"invalid_client", b"vend.upstream.failures", b"oauth2/token"):
        assert counted in exported
    assert leaks(exported, secrets) == []


def test_no_refusal_holds_a_secret(led: Led, secrets: Mapping[str, str]) -> None:
    """No answer without a token repeats what was sent, or anything that vend holds."""
    assert led.refusals.count(b'"error"') > 200
    assert leaks(led.refusals, secrets) == []


LEAKS: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "cut behind": lambda text: text[:12],
    "cut before": lambda text: text[-12:],
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in the base64 of more": lambda text: base64.urlsafe_b64encode(f"ab{text}cd".encode()).decode(),
    "in hex": lambda text: text.encode().hex(),
    "in a URL": lambda text: urllib.parse.quote(text, safe=""),
    "in JSON": json.dumps,
}


@pytest.mark.parametrize("way_out", LEAKS)
def test_the_scan_finds_a_leak(secrets: Mapping[str, str], way_out: str) -> None:
    """A secret that was leaked on purpose is found, so the scan can fail."""
    for name, secret in secrets.items():
        if len(secret) >= 24:
            assert name in leaks(f"before {LEAKS[way_out](secret)} after".encode(), secrets)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the app's memory from /proc")
def test_no_private_key_enters_the_app(loud: Site, led: Led) -> None:
    """The app's memory holds the caller's key, which it was sent, and no prime of the certificate's private key."""
    memory = writable_memory(loud.app.pid)
    assert led.token[:64].encode() in memory, "the memory was not read: this test would prove nothing"
    private = loud.cloud.vault.private_key("vend")
    for number in primes(private):
        size = (number.bit_length() + 7) // 8
        for order in ("big", "little"):
            assert number.to_bytes(size, order) not in memory


def primes(key: rsa.RSAPrivateKey) -> tuple[int, int]:
    """The two numbers without which there is no private key."""
    numbers = key.private_numbers()
    return numbers.p, numbers.q


def writable_memory(pid: int) -> bytes:
    """Read what a process of ours has in its heap and stacks."""
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            begin, end = (int(part, 16) for part in area.split("-"))
            memory.seek(begin)
            try:
                found += memory.read(end - begin)
            except OSError:
                continue  # a guard page
    return bytes(found)
