"""docs/from-msal.md: each step works as it stands there, against a service that has MSAL and a certificate."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from emulator.seed import CLIENT_ID, TENANT_ID
from emulator.tour.site import AT_ONCE, ROOT, SCOPE, Site, start
from tests.conftest import measured
from tests.emulator.client import key_pair

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "from-msal.md").read_text()
MODULES: dict[str, str] = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS: list[str] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ASK = f"import tokens; print(tokens.token({SCOPE!r}))"
MOST_LINES = 30
DAY = 86_400


@dataclass(frozen=True)
class Service:
    """A service in a folder of its own, which has the modules of the page and a certificate."""

    site: Site
    folder: Path

    def ask(self, **environ: str) -> tuple[str, str]:
        """Have it get a token as it is told to; return the token and its log."""
        done = self.run(f"{sys.executable} -c '{ASK.replace("'", '"')}'", **environ)
        return done.stdout.strip(), done.stderr

    def run(self, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell in its folder."""
        key = self.folder / "ledger.key"
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TENANT_ID": TENANT_ID,
            "CLIENT_ID": CLIENT_ID,
            "VEND_URL": self.site.app.url,
            "VEND_CONFIG": str(self.site.folder / "vend.toml"),
            "VEND_KEY": key.read_text() if key.exists() else "",
            "SSL_CERT_FILE": str(self.site.cloud.ca_file),
            "REQUESTS_CA_BUNDLE": str(self.site.cloud.ca_file),
            **environ,
        }
        done = subprocess.run(
            ["sh", "-e", "-c", command],  # noqa: S607
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service before it knows of vend, and a site; MSAL is led to the local Entra where it says Microsoft's."""
    with ExitStack() as stack:
        site = start(stack, tmp_path_factory.mktemp("site"), settings=measured(), limits=AT_ONCE)
        folder = tmp_path_factory.mktemp("service")
        pair = key_pair(starts=time.time() - DAY, ends=time.time() + DAY)
        site.cloud.directory.register_certificate(CLIENT_ID, pair.der)
        (folder / "key.pem").write_text(pair.private_pem)
        (folder / "certificate.pem").write_text(pair.public_pem)
        (folder / "vend").symlink_to(ROOT / "vend")
        for name, code in MODULES.items():
            local = code.replace("https://login.microsoftonline.com", site.cloud.authority)
            (folder / name).write_text(local.replace("authority=", "instance_discovery=False, authority="))
        yield Service(site, folder)


def application(token: str) -> str:
    """Return the app registration that a token is of."""
    return str(jwt.decode(token, options={"verify_signature": False})["appid"])


def test_a_service_moves_from_msal_to_vend_and_back(service: Service) -> None:
    """Step by step as the page has them: each gets a token of the same application, and the way back needs no vend."""
    both, cut_over, leave = COMMANDS
    assert application(service.ask(TOKENS_FROM="msal")[0]) == CLIENT_ID
    service.run(both)
    token, log = service.ask(TOKENS_FROM="both")
    assert (application(token), log) == (CLIENT_ID, "")
    events = (service.site.folder / "app.log").read_text()
    assert re.search('"event":"token".*"caller":"ledger".*"status":200', events)  # vend was asked beside MSAL
    service.run(cut_over)
    token, log = service.ask(TOKENS_FROM="vend")
    assert (application(token), log) == (CLIENT_ID, "")
    for file in ("key.pem", "certificate.pem"):
        (service.folder / file).rename(service.folder / f"{file}.old")
    assert service.ask(TOKENS_FROM="vend")[0] == token
    for file in ("key.pem", "certificate.pem"):
        (service.folder / f"{file}.old").rename(service.folder / file)
    service.run(leave)
    token, log = service.ask(TOKENS_FROM="msal", VEND_URL="http://127.0.0.1:9")
    assert (application(token), log) == (CLIENT_ID, "")


def test_what_differs_is_logged_and_breaks_nothing(service: Service) -> None:
    """The service gets MSAL's token while vend is away, or gives another one; no token is in the log."""
    token, log = service.ask(TOKENS_FROM="both", VEND_URL="http://127.0.0.1:9")
    assert application(token) == CLIENT_ID
    assert log == f"WARNING:root:vend has no token for {SCOPE}: URLError\n"
    other = jwt.encode({"aud": "https://other.example", "azp": "other", "roles": ["A"]}, "k" * 32, algorithm="HS256")
    (service.folder / "sitecustomize.py").write_text(f"import by_vend\nby_vend.token = lambda scope: {other!r}\n")
    token, log = service.ask(TOKENS_FROM="both", PYTHONPATH=str(service.folder))
    (service.folder / "sitecustomize.py").unlink()
    assert re.findall(r"^WARNING:root:(\w+) of ", log, re.MULTILINE) == ["aud", "appid", "roles"]
    assert application(token) == CLIENT_ID
    assert "eyJ" not in log


def test_the_page_keeps_its_title() -> None:
    """What there is before has 30 lines at most, and what there is afterwards has fewer."""
    before, after = (len(MODULES[name].strip().splitlines()) for name in ("by_msal.py", "by_vend.py"))
    assert after < before <= MOST_LINES


def test_every_example_is_run() -> None:
    """No example of the page escapes the tests here."""
    assert len(MODULES) + len(COMMANDS) == len(re.findall(r"^```(?:python|sh)$", PAGE, re.MULTILINE))
    assert len(COMMANDS) == 3
