import base64
import json
import re
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from emulator.faults import Fault, Kind
from emulator.run import ROOT, SCOPE, Site, start
from tests.contract import check

pytestmark = pytest.mark.slow

GRANT = {"grant_type": "client_credentials", "scope": SCOPE}
SENT_BY_MISTAKE = "a-secret-that-was-sent-by-mistake"
# One fault after the other: what the app remembers of the last is not to keep it from meeting the next.
FORGETFUL = dict.fromkeys(("failure_first_seconds", "failure_max_seconds", "failure_permanent_seconds"), 0.001)
SHAPES = (re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"), re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY"))
# The app as it is, with every library telling all that it can, into a file of its own too: the host drops what plain
# threads say.
LOUD_APP = """\
import logging
import os

logging.getLogger().addHandler(logging.FileHandler(os.environ["LOUD_LOG"]))
for name in ("asyncio", "azure", "httpcore", "httpx", "msal", "urllib3", "vend"):
    logging.getLogger(name).setLevel(logging.DEBUG)

from deployed_app import app
"""


def forms(secret: str) -> Iterable[bytes]:
    """Every form in which a secret might have leaked; cut ones too, for a prefix is worth a lot."""
    raw = secret.encode()
    quoted = urllib.parse.quote(secret, safe="").encode()
    cut = (raw[:12], raw[-12:]) if len(raw) >= 24 else ()
    return {raw, base64.b64encode(raw), raw.hex().encode(), quoted, json.dumps(secret)[1:-1].encode(), *cut}


def leaks(text: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Name each secret that a text holds in any form, and each thing of a secret's shape."""
    found = [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]
    return found + [shape.pattern.decode() for shape in SHAPES if shape.search(text)]


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Site]:
    """The app at level DEBUG with the loggers of all libraries on."""
    app = tmp_path_factory.mktemp("loud")
    (app / "function_app.py").write_text(LOUD_APP)
    (app / "deployed_app.py").symlink_to(ROOT / "function_app.py")
    (app / "shared").symlink_to(ROOT / "shared")
    settings = json.loads((ROOT / "host.json").read_text())
    settings["logging"]["logLevel"]["default"] = "Trace"
    (app / "host.json").write_text(json.dumps(settings))
    folder = tmp_path_factory.mktemp("loud-site")
    with ExitStack() as stack:
        yield start(
            stack,
            folder,
            app_folder=app,
            limits=FORGETFUL,
            settings={"PYTHON_ENABLE_DEBUG_LOGGING": "1", "LOUD_LOG": str(folder / "loud.log")},
        )


@pytest.fixture(scope="module")
def token(loud: Site) -> str:
    """A token, after the app was led through everything that can go wrong on its way."""
    headers, hooks = {"x-functions-key": loud.key}, {"response": [check]}
    with httpx.Client(base_url=loud.app.url, headers=headers, trust_env=False, event_hooks=hooks) as client:
        for part, status in (("identity", 403), ("vault", 403), ("vault", 503), ("entra", 503), ("entra", 401)):
            fault = Fault(kind=Kind.STATUS, status=status, body=f'{{"error": "{SENT_BY_MISTAKE}"}}')
            loud.cloud.faults[part].set(fault)
            answer = client.post("/api/token", data=GRANT, timeout=60)
            assert answer.status_code in {502, 503}
            assert leaks(answer.content, {"upstream": SENT_BY_MISTAKE}) == []
            loud.cloud.faults[part].clear()
        client.post("/api/token", data={**GRANT, "client_secret": SENT_BY_MISTAKE})
        client.post(f"/api/token?code={SENT_BY_MISTAKE}", data=GRANT)
        answer = client.post("/api/token", data=GRANT, timeout=60)
        assert answer.status_code == 200, (loud.folder / "app.log").read_text()[-3000:]
        secret: str = answer.json()["access_token"]
        return secret


@pytest.fixture(scope="module")
def secrets(loud: Site, token: str) -> Mapping[str, str]:
    """Everything that must be in no log, by what it is."""
    store = json.loads((loud.folder / "host.keys.json").read_text())
    return {
        "function key": loud.key,
        "master key": store["master"],
        "identity header": loud.cloud.identity_header,
        "access token": token,
        "sent by mistake": SENT_BY_MISTAKE,
    }


def test_no_log_holds_a_secret(loud: Site, secrets: Mapping[str, str]) -> None:
    """Whatever the app and its libraries tell at DEBUG, no secret, key, assertion or token is in it."""
    log = (loud.folder / "app.log").read_bytes() + (loud.folder / "loud.log").read_bytes()
    # httpcore's and azure-core's own words: without them the libraries were silent and this would prove nothing.
    assert b"send_request_headers" in log
    assert b"Request URL" in log
    assert leaks(log, secrets) == []


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode(), lambda text: text[:12]])
def test_the_scan_finds_a_leak(secrets: Mapping[str, str], encode: type[str]) -> None:
    """A secret that was leaked on purpose is found, so the scan can fail."""
    for name, secret in secrets.items():
        assert name in leaks(f"before {encode(secret)} after".encode(), secrets)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the app's memory from /proc")
def test_no_private_key_enters_the_app(loud: Site, token: str) -> None:
    """The app's memory holds the caller's key, which it was sent, and no prime of the certificate's private key."""
    memory = writable_memory(loud.app.pid)
    assert token[:64].encode() in memory, "the memory was not read: this test would prove nothing"
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
