"""`./vend token`."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from starlette.responses import Response

from emulator.cloud import LocalCloud
from emulator.network.serve import listening_socket
from emulator.tour.site import SHOP_SCOPES, Site, write_configuration
from tests.cli.conftest import KEY, ROOT, SCOPE, Oracle, Run, launch
from tests.tables import case_id, cases

ASK = ("token", "billing", "--scope", SCOPE)
WHERE = "If the app has other documents, name the scope: --scope SCOPE"
TOKEN = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An answer, and what is said of it; tests/data/cli_answers.toml describes the fields."""

    id: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | Mapping[str, str | int | bool]
    claims: Mapping[str, str | int | tuple[str, ...]] = field(default_factory=dict)
    exit: int
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


@pytest.fixture
def environ(site: Site) -> dict[str, str]:
    """What leads a command to the app and the documents of the site."""
    return {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / "billing.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
    }


@pytest.mark.slow
def test_a_token_is_shown_by_its_claims(environ: dict[str, str], tmp_path: Path) -> None:
    """Status, source, seconds left and claims, each on its line; never the token, and never the key."""
    done = launch(*ASK, environ=environ, cwd=tmp_path)
    head, *claims = done.stdout.splitlines()
    assert re.fullmatch(r"200  \d+ ms  (cache|identity_provider)  3\d{3} s left  [0-9a-f]{12}", head)
    assert [line.split()[0] for line in claims] == ["aud", "appid", "roles", "tid", "uti", "exp"]
    assert "roles  User.Read.All" in claims
    assert (done.returncode, done.stderr) == (0, "")
    key = Path(environ["VEND_KEY_FILE"]).read_text()
    assert not TOKEN.search(done.stdout)
    assert key not in done.stdout


def test_the_audit_trail_finds_the_token_that_is_shown(run: Run, site: Site, environ: dict[str, str]) -> None:
    """Its `uti`, in a line and in the JSON, is what `./vend audit` takes."""
    shown = run(*ASK, **environ).stdout.splitlines()[-2].removeprefix("uti    ")
    assert json.loads(run(*ASK, "--json", **environ).stdout)["claims"]["uti"] == shown
    found = run("audit", "--uti", shown, "--json", "--log", str(site.folder / "app.log"))
    assert "billing" in [each["name"] for each in json.loads(found.stdout)["callers"]]


@pytest.mark.slow
def test_raw_is_the_token_and_nothing_else(environ: dict[str, str]) -> None:
    """Made for `$(...)`: one line; an error leaves it empty."""
    assert TOKEN.fullmatch(launch(*ASK, "--raw", environ=environ).stdout.removesuffix("\n"))
    failed = launch("token", "billing", "--raw", "--scope", "https://vault.azure.net/.default", environ=environ)
    assert (failed.returncode, failed.stdout) == (1, "")


def test_without_a_scope_it_is_the_only_one_of_the_caller(run: Run, site: Site, environ: dict[str, str]) -> None:
    """The line that names it is on stderr, so that `--raw` stays the token and nothing else."""
    done = run("token", "billing", "--raw", **environ)
    assert TOKEN.fullmatch(done.stdout.removesuffix("\n"))
    assert done.stderr == f"--scope {SCOPE}, the only scope of billing by {site.folder}/callers.toml\n"


@pytest.mark.parametrize(
    ("caller", "says"),
    [
        ("shop", ["shop may have 2 scopes by {file}. Name one of them:", *(f"--scope {each}" for each in SHOP_SCOPES)]),
        ("operator", ["{file} gives nothing to operator.", WHERE]),
        ("nobody", ["{file} has no caller nobody. It has: billing, shop, operator", WHERE]),
    ],
    ids=["several", "none", "unknown"],
)
def test_without_a_scope_where_the_documents_have_not_one(
    run: Run, site: Site, environ: dict[str, str], caller: str, says: list[str]
) -> None:
    """Each scope is shown as the option that names it; stdout stays empty, for `$(...)`."""
    done = run("token", caller, "--raw", **environ)
    assert done.stderr.splitlines() == [line.format(file=site.folder / "callers.toml") for line in says]
    assert (done.exit_code, done.stdout) == (1, "")


def test_without_a_scope_the_mistakes_of_the_documents_are_no_token(run: Run, tmp_path: Path) -> None:
    """They are on stderr, with the way out."""
    (tmp_path / "vend.toml").write_text("callers = 'callers.toml.example'\nfoo = 1")
    done = run("token", "billing", "--raw", VEND_CONFIG=str(tmp_path / "vend.toml"), VEND_KEY=KEY)
    assert "  foo: is not a setting\n" in done.stderr
    assert done.stderr.endswith("\nThe scopes of billing are not known.\nName one: --scope SCOPE\n")
    assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.slow
def test_a_refresh_replaces_the_token_that_came(environ: dict[str, str]) -> None:
    """The second answer has another token, from Entra; at once after that it is the same, and that is said."""
    first, second, *_ = launch(*ASK, "--refresh", environ=environ).stdout.splitlines()
    assert first.split()[-1] != second.split()[-1]
    assert "identity_provider" in second
    assert "\nThe same token: it was replaced within the last 30 s" in launch(*ASK, "--refresh", environ=environ).stdout


@pytest.mark.slow
def test_what_to_do_next_can_be_done(environ: dict[str, str]) -> None:
    """The command that a refusal names is one, and it gives the reason."""
    done = launch("token", "billing", "--scope", "https://vault.azure.net/.default", environ=environ)
    command = re.search(r"^next +\./vend (.*)$", done.stderr, re.MULTILINE)
    assert done.returncode == 1
    assert command
    assert "reason  no entry lists this scope\n" in launch(*shlex.split(command[1]), environ=environ).stdout


@pytest.mark.slow
def test_a_key_is_asked_for_without_echo_and_colours_are_for_terminals(environ: dict[str, str]) -> None:
    """Where no key is found, somebody at a terminal is asked; what is typed is not shown. NO_COLOR is heeded."""
    key = Path(environ["VEND_KEY_FILE"]).read_text()
    quiet = {"VEND_URL": environ["VEND_URL"], "PATH": os.environ["PATH"], "TERM": "xterm"}
    for colours in ({}, {"NO_COLOR": "1"}):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [ROOT / "vend", *ASK],
            env=quiet | colours,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            shown = read_until(ours, "(not shown): ")
            os.write(ours, f"{key}\n".encode())
            shown += read_until(ours, "UTC\r\n")
            assert process.wait() == 0
        os.close(ours)
        assert key not in shown
        assert ("\x1b[" in shown) is not bool(colours)


def read_until(terminal: int, end: str) -> str:
    """Read what a terminal shows, up to a text."""
    shown = ""
    while not shown.endswith(end):
        shown += os.read(terminal, 1024).decode()
    return shown


@pytest.mark.parametrize("case", cases("cli_answers.toml", Case), ids=case_id)
def test_every_answer_is_told_with_what_to_do_next(run: Run, oracle: tuple[Oracle, str], case: Case) -> None:
    """What came, as it came, then the next step; nothing in it steers the terminal; exit code 1 without a token."""
    serving, url = oracle
    secret = jwt.encode(dict(case.claims), "k" * 32)
    content = case.body if isinstance(case.body, str) else json.dumps(case.body)
    serving.answer = Response(content.replace("{jwt}", secret), case.status, headers=case.headers)
    done = run(*ASK, "--app", url, VEND_KEY=KEY)
    assert done.exit_code == case.exit
    for stream, told in ((done.stdout, case.out), (done.stderr, case.err)):
        assert [line for line in told if line.replace("URL", url) not in stream.splitlines()] == []
    never = [text.replace("{jwt}", secret) for text in case.never]
    assert [text for text in (*never, KEY) if text in done.output] == []


def test_the_key_comes_from_a_file_or_the_environment(run: Run, oracle: tuple[Oracle, str], tmp_path: Path) -> None:
    """The file that VEND_KEY_FILE names comes before VEND_KEY; the end of its line is no part of the key."""
    serving, url = oracle
    (tmp_path / "key").write_text(f"{KEY}\n")
    for environ in ({"VEND_KEY": KEY}, {"VEND_KEY": "another-key-of-billing", "VEND_KEY_FILE": str(tmp_path / "key")}):
        run(*ASK, "--app", url, **environ)
        assert serving.headers["x-functions-key"] == KEY


@pytest.mark.slow
def test_the_keys_of_make_run_are_for_its_own_app(tmp_path: Path) -> None:
    """`.run/NAME.key` is used at the address of `make run`, by either name, and sent to no other.

    Where that has other ports than the usual ones, they are found without --app.
    """
    for room in ("cli", "shared"):
        (tmp_path / room).symlink_to(ROOT / room)
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "billing.key").write_text(KEY)
    command = [sys.executable, "-P", "-m", "cli", *ASK, "--app"]
    has_key = {}
    for address in (
        "http://localhost:7071",
        "http://127.0.0.1:7071",
        "http://localhost:9",
        "https://vend.invalid:7071",
    ):
        done = subprocess.run(
            [*command, address], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        has_key[address] = "There is no key for billing." not in done.stderr
    assert list(has_key.values()) == [True, True, False, False]
    (tmp_path / ".run" / "addresses.json").write_text('{"app": "http://127.0.0.1:9"}')
    done = subprocess.run(command[:-1], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Nobody answers at http://127.0.0.1:9: ")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "There is no key for billing.\n"),
        ({"VEND_KEY": "short"}, "There is no usable key in VEND_KEY.\n"),
        ({"VEND_KEY": f"{KEY},{KEY}"}, "There is no usable key in VEND_KEY.\n"),
        ({"VEND_KEY_FILE": "/nowhere"}, "/nowhere cannot be read (FileNotFoundError)\n"),
    ],
    ids=["none", "short", "two", "no file"],
)
def test_without_a_key_nothing_is_asked(run: Run, environ: dict[str, str], says: str) -> None:
    """Where there is no terminal to ask at, one line says where a key could come from; it is never quoted."""
    done = run(*ASK, "--app", "http://127.0.0.1:9", **environ)
    assert done.stderr.startswith(says)
    assert (done.exit_code, KEY in done.output) == (1, False)


@pytest.mark.parametrize(
    ("caller", "everybody", "says"),
    [
        ("reports", False, "{file} has no caller reports. It has: billing"),
        ("reports", True, "There is no key for reports."),
        ("billing", False, "There is no key for billing."),
    ],
    ids=["revoked", "everybody", "known"],
)
def test_a_caller_that_is_none_needs_no_key(
    run: Run, cloud: LocalCloud, tmp_path: Path, caller: str, says: str, *, everybody: bool
) -> None:
    """The documents of this machine tell it, as after `revoke`; with `"*"` any key can be that of a caller."""
    write_configuration(cloud, tmp_path, {"billing": KEY})
    if everybody:
        with (tmp_path / "callers.toml").open("a") as document:
            document.write('[callers."*"]\n')
    config = str(tmp_path / "vend.toml")
    done = run("token", caller, "--scope", SCOPE, "--app", "http://127.0.0.1:9", VEND_CONFIG=config)
    assert done.stderr.splitlines()[0] == says.format(file=tmp_path / "callers.toml")
    assert done.exit_code == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://vend.example",
        "HTTP://vend.example",
        "http://127.0.0.1.example",
        "http://localhost.example:7071",
        "http://localhost@vend.example",
        "ftp://localhost",
        "localhost:7071",
        "https://vend.example/?code=x",
        "https://vend.example/api/token",
        "https://",
        "https://[",
        "http://localhost:99999",
    ],
)
def test_a_key_goes_only_where_nobody_can_read_along(run: Run, address: str) -> None:
    """Over http to this machine alone; an address is scheme, host and port."""
    done = run(*ASK, "--app", address, VEND_KEY=KEY)
    assert done.stderr.startswith(("--app: must be http or https", "--app: http is for this machine alone"))
    assert done.exit_code == 2


def test_where_nobody_answers_is_said_with_a_way_out(run: Run) -> None:
    """The address that was tried, and the command that starts one."""
    with listening_socket() as taken:  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(*ASK, "--app", url, VEND_KEY=KEY)
    first, second = done.stderr.splitlines()
    assert first.startswith(f"Nobody answers at {url}: ")
    assert second.startswith("`make run` starts one on this machine")
    assert done.exit_code == 1
