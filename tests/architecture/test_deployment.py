"""What is deployed: importing the app does nothing, and Azure runs it as it runs here."""

import json
import re
import subprocess
import sys
from pathlib import Path

from shared.adapters.database.store import LEASE_SECONDS
from shared.wiring.directory import SYNC_SECONDS

ROOT = Path(__file__).parents[2]
# Written in halves, so that this file does not find itself.
HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(org|com)"]))
IMPORTS_LATE = ("azure.identity", "azure.keyvault", "cryptography", "httpcore", "jwt", "msal", "shared")


def python(code: str, *path: Path) -> str:
    """Run code in a process of its own, which looks for modules in these folders too, and return what it prints."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(place) for place in path]!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_app_does_nothing() -> None:
    """No SDK, no client and none of our own code is loaded before the first call, so that no import can fail."""
    loaded = python("import function_app, sys; print(*sys.modules)", ROOT).split()
    assert [name for name in IMPORTS_LATE if any(f"{module}.".startswith(f"{name}.") for module in loaded)] == []


def test_a_key_in_a_file_is_not_committed() -> None:
    """What the documents write a key to, in this folder, is left out of the repository."""
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    written = {name for each in documents for name in re.findall(r"--key-file ([a-z]\S*)", each.read_text())}
    assert written
    done = subprocess.run(["git", "check-ignore", *written], capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S607
    assert set(done.stdout.split()) == written


def test_no_file_names_an_index() -> None:
    """A clone installs from whatever index its machine uses."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S607
    files = [ROOT / name for name in listed.stdout.splitlines()]
    assert [file.name for file in files if file.is_file() and HOSTS.search(file.read_text(errors="ignore"))] == []


def test_the_local_host_runs_the_deployed_runtime() -> None:
    """Azure runs the runtime that requirements.txt pins, and the local host the same."""
    pins = {name: pin(name, "azure-functions-runtime") for name in ("requirements.txt", "requirements/local.txt")}
    assert pins["requirements.txt"] == pins["requirements/local.txt"]


def pin(file: str, package: str) -> str:
    """Read the version that a requirements file pins."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_sync_ends_before_the_host_ends_it() -> None:
    """FunctionTimeout of host.json is the longest that a run lives: pages end before it, and a lease is shorter."""
    hours, minutes, seconds = map(int, json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":"))
    assert LEASE_SECONDS < SYNC_SECONDS < 3_600 * hours + 60 * minutes + seconds
