"""docs/callers.md: each example works as it stands there, and the tables say what the tests saw."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulator.network.faults import Fault, Kind
from emulator.seed import GRAPH, TENANT_ID
from emulator.tour.site import CALLER, ROOT, Site, start
from tests.clients.test_stock_clients import CASES, NODE
from tests.conftest import measured

PAGE = (ROOT / "docs" / "callers.md").read_text()
NODE_PROGRAMS = ROOT / "tests" / "clients" / "node"
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|python|js)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# No token is served twice here, so that each example meets Entra, and a failure of it is over in a second.
LIMITS = {
    "min_remaining_seconds": 3600,
    "min_remaining_failing_seconds": 3600,
    "attempts_per_flight": 1,
    "failure_first_seconds": 0.5,
}


def example(language: str, sign: str) -> str:
    """Find the one example in a language that has a sign of its own in it."""
    (found,) = [code for kind, code in BLOCKS if kind == language and sign in code]
    return found


CURL, VARIABLES = example("sh", "curl"), example("sh", "IDENTITY_ENDPOINT")
EXEC, EXEC_WITHOUT_KEY = example("sh", '"$VEND_CALLER" -- '), example("sh", "--identity-file")
URLLIB, HTTPX, AUTHLIB = (
    example("python", "request = urllib.request.Request("),
    example("python", "httpx.Client"),
    example("python", "authlib"),
)
LISTING = example("python", "users = ask(")
CHALLENGED = example("python", "insufficient_claims")  # goes on where HTTPX ends
IDENTITY = example("sh", "AZURE_AUTHORITY_HOST")
WORKLOAD = {language: example(language, "WorkloadIdentityCredential") for language in ("python", "js")}
SDK = {"python": example("python", "ManagedIdentityCredential"), "js": example("js", "ManagedIdentityCredential")}


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that these tests alone break."""
    with ExitStack() as stack:
        yield start(stack, tmp_path_factory.mktemp("callers"), settings=measured(), limits=LIMITS)


def run(site: Site, command: str, code: str = "", *, folder: Path = NODE_PROGRAMS) -> str:
    """Run a command of the shell as a caller that has what the page says it has; return what it prints.

    The code stands in its stdin, and reads the local Graph where it says Microsoft's.
    """
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VEND_URL": site.app.url,
        "VEND_CALLER": CALLER,
        "VEND_KEY": site.key,
        "TENANT_ID": TENANT_ID,
        "TOKEN_FILE": str(site.folder / f"{CALLER}.token"),
        "NODE_EXTRA_CA_CERTS": str(site.cloud.ca_file),
        "SSL_CERT_FILE": str(site.cloud.ca_file),
        "REQUESTS_CA_BUNDLE": str(site.cloud.ca_file),
    }
    done = subprocess.run(
        ["sh", "-c", command],  # noqa: S607
        input=code.replace(f"{GRAPH}/v1.0", f"{site.cloud.graph_url}/v1.0"),
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def python(site: Site, *code: str) -> str:
    """Run Python in which nothing of vend can be imported."""
    return run(site, f"{sys.executable} -I -", "\n".join(code))


def names(site: Site) -> set[object]:
    """Tell who is in the local directory."""
    return {person.properties.get("displayName") for person in site.cloud.people.tenant().values()}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_line_gets_a_token(own_site: Site) -> None:
    """The request works when it is pasted."""
    assert json.loads(run(own_site, CURL))["token_type"] == "Bearer"


@pytest.mark.slow
def test_the_python_gets_a_token(own_site: Site) -> None:
    """With the standard library alone."""
    assert int(python(own_site, URLLIB)) > 500


@pytest.mark.slow
def test_the_python_lists_a_user(own_site: Site) -> None:
    """It asks vend for a token, and Graph for a user with it."""
    assert python(own_site, LISTING) in names(own_site)


@pytest.mark.slow
def test_the_httpx_example_asks_again(own_site: Site) -> None:
    """It gets over one failure of Entra, and waits for as long as it is told."""
    own_site.cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503, times=1))
    assert int(python(own_site, HTTPX)) > 500
    assert own_site.cloud.faults["entra"].current is None


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "js"])
def test_two_variables_and_an_azure_sdk_get_a_token(own_site: Site, language: str) -> None:
    """The two variables as they are set there, and the SDK's own few lines."""
    program = f"{sys.executable} -I -" if language == "python" else f"{NODE} --input-type=module -"
    assert int(run(own_site, f"{VARIABLES}\nexec {program}", SDK[language])) > 500


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "js"])
def test_four_variables_and_an_identity_token_get_a_token(own_site: Site, language: str) -> None:
    """The four variables as they are set there, and no key; clients of Entra speak to https alone."""
    program = f"{sys.executable} -I -" if language == "python" else f"{NODE} --input-type=module -"
    secure = f"VEND_URL={own_site.url}\nunset VEND_KEY"
    assert int(run(own_site, f"{secure}\n{IDENTITY}\nexec {program}", WORKLOAD[language])) > 500


@pytest.mark.slow
def test_exec_gets_a_token_for_a_program(own_site: Site, tmp_path: Path) -> None:
    """The line as it stands there, from a folder that has a link to the command and somebody's program."""
    (tmp_path / "vend").symlink_to(ROOT / "vend")
    (tmp_path / "my_service.py").write_text(SDK["python"])
    assert int(run(own_site, EXEC, folder=tmp_path)) > 500


@pytest.mark.slow
def test_exec_shows_an_identity_token_for_a_program(own_site: Site, tmp_path: Path) -> None:
    """The line as it stands there, without a key."""
    (tmp_path / "vend").symlink_to(ROOT / "vend")
    (tmp_path / "my_service.py").write_text(WORKLOAD["python"])
    secure = f"export VEND_URL={own_site.url}\nunset VEND_KEY"
    assert int(run(own_site, f"{secure}\n{EXEC_WITHOUT_KEY}", folder=tmp_path)) > 500


@pytest.mark.slow
def test_the_authlib_example_gets_a_user(own_site: Site) -> None:
    """The session gets its token from vend and a user from Graph."""
    assert python(own_site, AUTHLIB) in names(own_site)


@pytest.mark.slow
def test_the_example_of_a_claims_challenge_gets_a_user(own_site: Site) -> None:
    """Graph wants a newer token, once: the claims of its challenge reach Entra, and the second request succeeds."""
    challenge = 'Bearer realm="", error="insufficient_claims", claims="{}"'
    claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzAwMDAwMDAwIn19fQ=="
    own_site.cloud.faults["graph"].set(
        Fault(kind=Kind.STATUS, status=401, times=1, headers={"www-authenticate": challenge.format(claims)})
    )
    assert python(own_site, HTTPX, CHALLENGED).splitlines()[-1] in names(own_site)
    asked = own_site.cloud.entra.requests[-1].claims
    assert json.loads(asked) == {"access_token": {"nbf": {"essential": True, "value": "1700000000"}}}


def test_the_table_of_clients_is_what_the_tests_saw() -> None:
    """A row for each client that the tests run, with its route and with what it does of itself; and no other row."""
    table = PAGE.partition("| client | route |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines()[2:]]
    assert rows == [
        [case.name, f"`/api/{case.route}`", "yes, after `Retry-After`" if case.repeats else "no"] for case in CASES
    ]


def test_every_example_is_run() -> None:
    """No example of the page escapes the tests here."""
    assert {code for _, code in BLOCKS} == {
        CURL,
        VARIABLES,
        IDENTITY,
        EXEC,
        EXEC_WITHOUT_KEY,
        URLLIB,
        LISTING,
        HTTPX,
        AUTHLIB,
        CHALLENGED,
        *SDK.values(),
        *WORKLOAD.values(),
    }


def test_the_warning_comes_first() -> None:
    """Nobody meets the two variables in an example before what they would do to an app on Azure."""
    assert PAGE.index("Never set `IDENTITY_ENDPOINT`") < PAGE.index("```")
