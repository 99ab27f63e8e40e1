"""Which files of a checkout are deployed: what the app imports or reads, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from scripts.package import DOCUMENTS, PackageError, own_files

ROOT = Path(__file__).parents[2]
APP = """\
import azure.functions as func

async def token():
    from shared.core.request import Incoming
    from shared import runtime
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small app in a folder with more than the app needs."""
    files = {
        "function_app.py": APP,
        "host.json": "{}",
        "vend.toml": 'callers = "${CALLERS_URL}"',
        "shared/__init__.py": "",
        "shared/core/__init__.py": "",
        "shared/core/request.py": "import shared.core.form",
        "shared/core/form.py": "from shared.core import request",
        "shared/core/scratch.py": "",
        "shared/runtime.py": "import json",
        "shared/notes.txt": "",
        "roots.pem": "",
        "callers.toml": "",
        ".env": "",
        "cli/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_text(text)
    (tmp_path / "roots.pem").touch()
    return tmp_path / "app"


def test_the_modules_that_the_app_imports_are_deployed(checkout: Path) -> None:
    """An import counts wherever it stands; a file that nothing imports stays at home, whether git knows it or not."""
    assert own_files(checkout) == {
        *DOCUMENTS,
        "function_app.py",
        "shared/__init__.py",
        "shared/core/__init__.py",
        "shared/core/request.py",
        "shared/core/form.py",
        "shared/runtime.py",
    }


def test_every_committed_module_of_the_app_is_deployed() -> None:
    """No module of `shared/` is there for nothing, and none is missed."""
    listed = subprocess.run(["git", "ls-files", "shared"], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S607
    assert own_files(ROOT) == {*DOCUMENTS, "function_app.py", *listed.stdout.split()}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("", {"callers.toml"}),
        ('callers = "callers.toml"', {"callers.toml"}),
        ('callers = "https://x.blob.core.windows.net/c/callers.toml"', set()),
        ('callers = "${CALLERS_URL}"\nnetwork.ca_file = "./roots.pem"', {"roots.pem"}),
        ('callers = "/mounts/callers.toml"', set()),
    ],
)
def test_a_file_that_vend_toml_names_is_deployed(checkout: Path, settings: str, named: set[str]) -> None:
    """A relative path starts at the app; an address, an app setting or an absolute path is not in the package."""
    before = own_files(checkout)
    (checkout / "vend.toml").write_text(settings)
    assert own_files(checkout) - before == named


@pytest.mark.parametrize("name", ["absent.pem", "../roots.pem", "shared"])
def test_a_named_file_that_cannot_be_deployed_stops_the_build(checkout: Path, name: str) -> None:
    """The app would not start without it."""
    (checkout / "vend.toml").write_text(f'callers = "${{CALLERS_URL}}"\nnetwork.ca_file = "{name}"')
    with pytest.raises(PackageError, match=name):
        own_files(checkout)
