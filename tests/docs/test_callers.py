"""docs/callers.md: each example works as it stands there, and the tables say what the tests saw."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from emulator.network.faults import Fault, Kind
from emulator.network.serve import HOST, Background
from emulator.seed import GRAPH, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID, VEND
from emulator.tour.site import CALLER, ROOT, SUBJECT, Site, start
from tests.clients.test_stock_clients import CASES, NODE
from tests.conftest import measured

PAGE = (ROOT / "docs" / "callers.md").read_text()
NODE_PROGRAMS = ROOT / "tests" / "clients" / "node"
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|python|js)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NO_MORE: Mapping[str, str] = MappingProxyType({})
JOB = "repo:contoso/billing:ref:refs/heads/main"
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


CURL, VARIABLES = example("sh", "x-functions-key"), example("sh", "IDENTITY_ENDPOINT")
BASIC, OF_A_JOB = example("sh", "curl -sS --max-time 30 -u"), example("sh", "ACTIONS_ID_TOKEN_REQUEST_URL")
MAKE_KEY, PUBLIC_KEY = example("sh", "openssl genpkey"), example("python", "load_pem_public_key")
EXEC, EXEC_WITHOUT_KEY = example("sh", '"$VEND_CALLER" -- '), example("sh", "--identity-file")
URLLIB, HTTPX, AUTHLIB = (
    example("python", "request = urllib.request.Request("),
    example("python", "httpx.Client"),
    example("python", "import OAuth2Session\n\nsession = OAuth2Session("),
)
MANAGED, MSAL_FILE, KEY_PAIR = (
    example("python", "ClientAssertionCredential"),
    example("python", "ConfidentialClientApplication"),
    example("python", "PrivateKeyJWT"),
)
REQUESTS = example("python", "requests_oauthlib")
LISTING, DIRECTORY = example("python", "users = ask("), example("python", "VEND_DIRECTORY")
MSAL, AIO = example("python", "from msal import"), example("python", "azure.identity.aio")
CHALLENGED = example("python", "insufficient_claims")  # goes on where HTTPX ends
IDENTITY = example("sh", "AZURE_AUTHORITY_HOST")
WORKLOAD = {language: example(language, "WorkloadIdentityCredential") for language in ("python", "js")}
SDK = {
    "python": example("python", "azure.identity import ManagedIdentityCredential"),
    "js": example("js", "ManagedIdentityCredential"),
}


PYTHON, NODE_PROGRAM = f"{sys.executable} -I -", f"{NODE} --input-type=module -"
ASKING = {
    "curl": (CURL, ""),
    "stdlib": (PYTHON, URLLIB),
    "httpx": (PYTHON, HTTPX),
    "azure-identity": (f"{VARIABLES}\nexec {PYTHON}", SDK["python"]),
    "azure-identity-aio": (f"{VARIABLES}\nexec {PYTHON}", AIO),
    "azure-identity-node": (f"{VARIABLES}\nexec {NODE_PROGRAM}", SDK["js"]),
    "msal": (f"{VARIABLES}\nexec {PYTHON}", MSAL),
    "authlib": (PYTHON, AUTHLIB),
    "requests-oauthlib": (PYTHON, REQUESTS),
    "workload-identity": (f"{IDENTITY}\nexec {PYTHON}", WORKLOAD["python"]),
    "workload-identity-node": (f"{IDENTITY}\nexec {NODE_PROGRAM}", WORKLOAD["js"]),
    "daemon": (PYTHON, LISTING),
}
"""Each example that asks for a token: the command, and what stands in its stdin."""


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that these tests alone break; its caller has an identity for each recipe of the page."""
    with ExitStack() as stack:
        site = start(stack, tmp_path_factory.mktemp("callers"), settings=measured(), limits=LIMITS)
        run(site, MAKE_KEY, folder=site.folder)
        settings, callers = site.folder / "vend.toml", site.folder / "callers.toml"
        issuer = f'[issuers.{CALLER}]\nissuer = "{CALLER}"\naudience = "{site.app.url}/api/oauth2/token"\n'
        keys = python(site, PUBLIC_KEY, folder=site.folder)
        settings.write_text(settings.read_text().replace("[limits]", f"{issuer}{keys}\n[limits]"))
        managed = f'object_id = "{IDENTITY_PRINCIPAL_ID}", tenant_id = "{TENANT_ID}"'
        more = (f'"entra", {managed}', f'"cluster", subject = "{JOB}"', f'"{CALLER}", subject = "{CALLER}"')
        listed = "".join(f", {{ issuer = {each} }}" for each in more)
        callers.write_text(callers.read_text().replace(f'"{SUBJECT}" }}', f'"{SUBJECT}" }}{listed}'))
        yield site


def done(
    site: Site, command: str, code: str = "", *, folder: Path = NODE_PROGRAMS, more: Mapping[str, str] = NO_MORE
) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell as a caller that has what the page says it has, or `more`.

    The code stands in its stdin, and reads the local Graph where it says Microsoft's.
    """
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VEND_URL": site.app.url,
        "VEND_CALLER": CALLER,
        "VEND_KEY": site.key,
        "VEND_DIRECTORY": str(site.folder / "directory.db"),
        "TENANT_ID": TENANT_ID,
        "TOKEN_FILE": str(site.folder / f"{CALLER}.token"),
        "VEND_AUDIENCE": VEND,
        **more,
        "NODE_EXTRA_CA_CERTS": str(site.cloud.ca_file),
        "SSL_CERT_FILE": str(site.cloud.ca_file),
        "REQUESTS_CA_BUNDLE": str(site.cloud.ca_file),
    }
    return subprocess.run(
        ["sh", "-c", command],  # noqa: S607
        input=code.replace(f"{GRAPH}/v1.0", f"{site.cloud.graph_url}/v1.0"),
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def run(
    site: Site, command: str, code: str = "", *, folder: Path = NODE_PROGRAMS, more: Mapping[str, str] = NO_MORE
) -> str:
    """Run a command that succeeds, as above; return what it prints."""
    ended = done(site, command, code, folder=folder, more=more)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def python(site: Site, *code: str, folder: Path = NODE_PROGRAMS, more: Mapping[str, str] = NO_MORE) -> str:
    """Run Python in which nothing of vend can be imported."""
    return run(site, f"{sys.executable} -I -", "\n".join(code), folder=folder, more=more)


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
def test_the_first_daemon_lists_every_user(own_site: Site) -> None:
    """It asks vend for a token, and Graph for one page after the other."""
    assert set(python(own_site, LISTING.replace("$top=100", "$top=3")).splitlines()) == names(own_site)


@pytest.mark.slow
def test_the_second_daemon_reads_the_directory(own_site: Site) -> None:
    """The sync has copied the users, who are the same as in Graph, but for those who are disabled."""
    key = (own_site.folder / "operator.key").read_text()
    answer = httpx.post(f"{own_site.app.url}/api/sync", headers={"x-functions-key": key}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    lines = python(own_site, DIRECTORY).splitlines()
    assert {line.rpartition(" ")[0] for line in lines} == {
        person.properties["displayName"]
        for person in own_site.cloud.people.tenant().values()
        if person.properties.get("accountEnabled")
    }


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
def test_a_managed_identity_gets_a_token(own_site: Site) -> None:
    """The platform's own endpoint gives the proof, which names another audience than Graph's."""
    own = {
        "IDENTITY_ENDPOINT": own_site.cloud.identity_endpoint,
        "IDENTITY_HEADER": own_site.cloud.identity_header,
        "AZURE_CLIENT_ID": IDENTITY_CLIENT_ID,
    }
    assert int(python(own_site, MANAGED, more={**own, "VEND_URL": own_site.url, "VEND_KEY": ""})) > 500


@pytest.mark.slow
def test_msal_gets_a_token_by_the_same_file(own_site: Site) -> None:
    """With public options alone."""
    assert int(python(own_site, MSAL_FILE, more={"VEND_URL": own_site.url, "VEND_KEY": ""})) > 500


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq"))), reason="curl or jq is not installed")
def test_the_job_of_a_workflow_gets_a_token(own_site: Site) -> None:
    """The service of GitHub that gives the job its token is a stand-in; the issuer is the local cloud's."""

    def give(request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer of-the-job"
        return JSONResponse({"value": own_site.cloud.issuer.token(JOB, audience=request.query_params["audience"])})

    with Background() as background:
        port = background.serve(Starlette(routes=[Route("/token", give)]))
        of_job = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{HOST}:{port}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        }
        assert json.loads(run(own_site, OF_A_JOB, more={**of_job, "VEND_KEY": ""}))["token_type"] == "Bearer"


@pytest.mark.slow
def test_a_key_pair_gets_a_token(own_site: Site) -> None:
    """It was made by the lines of the page, and the operator was sent what they print."""
    assert int(python(own_site, KEY_PAIR, folder=own_site.folder, more={"VEND_KEY": ""})) > 500


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_tool_that_knows_a_token_url_gets_a_token(own_site: Site) -> None:
    """By HTTP Basic, as tools send it."""
    assert json.loads(run(own_site, BASIC))["token_type"] == "Bearer"


@pytest.mark.slow
def test_the_authlib_example_gets_a_user(own_site: Site) -> None:
    """The session gets its token from vend and a user from Graph."""
    assert python(own_site, AUTHLIB) in names(own_site)


@pytest.mark.slow
def test_the_requests_oauthlib_example_gets_a_user(own_site: Site) -> None:
    """It speaks to https alone."""
    assert run(own_site, f"VEND_URL={own_site.url} {sys.executable} -I -", REQUESTS) in names(own_site)


@pytest.mark.slow
@pytest.mark.parametrize("code", [MSAL, AIO], ids=["msal", "aio"])
def test_two_variables_and_other_python_get_a_token(own_site: Site, code: str) -> None:
    """MSAL, and the asynchronous half of azure-identity."""
    assert int(run(own_site, f"{VARIABLES}\nexec {sys.executable} -I -", code)) > 500


@pytest.mark.slow
@pytest.mark.parametrize(("command", "code"), ASKING.values(), ids=ASKING)
def test_an_example_prints_the_error_of_vend(own_site: Site, command: str, code: str) -> None:
    """FND-E13: of a scope that the caller may not have, in our words; the OAuth libraries alone drop the id."""
    secure = f"VEND_URL={own_site.url}" if code in {REQUESTS, *WORKLOAD.values()} else ""
    command, code = (text.replace(GRAPH, "https://vault.azure.net", 1) for text in (command, code))
    ended = done(own_site, f"{secure}\n{command}", code)
    printed = ended.stdout + ended.stderr
    assert "scope is not available to this caller" in printed
    assert ("correlation" in printed.lower()) is (code not in {AUTHLIB, REQUESTS})


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
        BASIC,
        OF_A_JOB,
        MAKE_KEY,
        PUBLIC_KEY,
        MANAGED,
        MSAL_FILE,
        KEY_PAIR,
        URLLIB,
        LISTING,
        DIRECTORY,
        MSAL,
        AIO,
        REQUESTS,
        HTTPX,
        AUTHLIB,
        CHALLENGED,
        *SDK.values(),
        *WORKLOAD.values(),
    }


def test_every_way_to_prove_oneself_has_its_recipe() -> None:
    """The page begins with the table, and each row of it leads to a section with an example."""
    table = PAGE.partition("## How does my service prove itself?")[2].partition("\n\n")[2].partition("\n\n")[0]
    anchors = re.findall(r"\(#([\w-]+)\) \|$", table, re.MULTILINE)
    assert len(anchors) == len(table.splitlines()) - 2
    sections = {
        re.sub(r"[^a-z -]", "", heading.lower()).replace(" ", "-"): body
        for heading, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    }
    assert next(iter(sections)) == "how-does-my-service-prove-itself"
    assert {anchor for anchor in anchors if "```" not in sections[anchor]} == set()


def test_the_file_of_the_pod_is_that_of_the_recipe() -> None:
    """What the manifest mounts is what its variable names, and vend's own audience."""
    (manifest,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    mount, path = re.search(r"mountPath: ([^,]+),", manifest), re.search(r"path: (\w+),", manifest)
    assert mount
    assert path
    assert f"AZURE_FEDERATED_TOKEN_FILE, value: {mount[1]}/{path[1]} }}" in manifest
    assert f'audience: "{VEND}"' in manifest


def test_the_warning_comes_first() -> None:
    """Nobody meets the two variables in an example before what they would do to an app on Azure."""
    assert PAGE.index("Never set `IDENTITY_ENDPOINT`") < PAGE.index("```")
