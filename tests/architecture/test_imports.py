"""Who may import whom."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A client of an outside system is imported in one file, so that one file shows everything that is asked of it.
HOME_OF = {
    "azure.functions": {"function_app.py"},
    "azure.identity": {"shared/adapters/own_identity.py"},
    "azure.keyvault": {"shared/adapters/key_vault.py"},
    "azure.core": {"shared/adapters/own_identity.py", "shared/adapters/key_vault.py"},
    "httpx": {"shared/adapters/http.py"},
    "opentelemetry": {"shared/telemetry/metrics.py"},
    "sqlalchemy": {file.relative_to(ROOT).as_posix() for file in ROOT.glob("shared/adapters/database/*.py")},
}
# What the core may use of the standard library: nothing here does I/O, reads a clock or draws a random number.
PURE = {
    "base64", "binascii", "collections", "dataclasses", "datetime", "email.utils", "enum", "functools", "hashlib",
    "hmac", "itertools", "json", "math", "operator", "re", "string", "types", "typing", "urllib.parse",
}  # fmt: skip
# What is not deployed may import what it likes, but for these.
STRANGERS_TO = {
    "emulator": {"shared", "function_app", "tests", "cli", "benchmarks"},
    "benchmarks": {"function_app", "cli", "tests.tokens", "tests.api", "tests.end_to_end"},
}
# The command line reads the documents and decides as the app does; what runs in the app it asks over HTTP.
OPEN_TO_CLI = {
    "azure.core.exceptions", "azure.identity", "cli", "httpx", "rich", "shared.callers", "shared.core",
    "tomlkit", "typer",
}  # fmt: skip
# Only the composition root may reach for what does I/O.
RIM = {"shared.adapters"}
THIRD_PARTY = {"azure", "certifi", "cryptography", "httpx", "jwt", "opentelemetry", "sqlalchemy"}


def imports(source: str) -> Iterator[str]:
    """Every module that a source imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                # `from azure import functions` names a module too.
                yield from (f"{module}.{alias.name}" for alias in names)


def within(name: str, package: str) -> bool:
    """Whether a module is that package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def is_strange_to(room: str, name: str) -> bool:
    """Whether a room that is not deployed does without a module."""
    if room == "cli":
        ours = any(within(name, module) for module in OPEN_TO_CLI)
        return not ours and name.split(".", maxsplit=1)[0] not in sys.stdlib_module_names
    return any(within(name, stranger) for stranger in STRANGERS_TO[room])


def offences(path: str, source: str) -> list[str]:
    """The imports of one file that cross a fence."""
    found = []
    for name in imports(source):
        top = name.split(".", maxsplit=1)[0]
        room = path.split("/", maxsplit=1)[0]
        if room in {"cli", *STRANGERS_TO}:
            if is_strange_to(room, name):
                found.append(f"{path}: {room} stands apart, and imports {name}")
            continue
        if top in {"emulator", "tests", "cli", "benchmarks"}:
            found.append(f"{path}: deployed code imports {name}, which is not deployed")
        if top not in sys.stdlib_module_names and top not in THIRD_PARTY | {"shared"}:
            found.append(f"{path}: imports {name}, which is no dependency of the deployed app")
        found.extend(
            f"{path}: {package} belongs to {', '.join(sorted(homes))}"
            for package, homes in HOME_OF.items()
            if within(name, package) and path not in homes
        )
        if (
            path != "shared/runtime.py"
            and not path.startswith("shared/adapters/")
            and any(within(name, module) for module in RIM)
        ):
            found.append(f"{path}: only shared/runtime.py constructs, and {name} does I/O")
        if path.startswith("shared/core/") and path != "shared/core/documents/settings.py":
            pure = any(within(name, module) for module in PURE | {"shared.core", "jwt", "cryptography"})
            if not pure:
                found.append(f"{path}: the core is pure, and imports {name}")
    return found


def fenced_files() -> list[str]:
    """Every file whose imports are fenced, relative to the root."""
    rooms = ("shared", "emulator", "benchmarks", "cli")
    files = [*ROOT.glob("function_app.py"), *(file for room in rooms for file in ROOT.glob(f"{room}/**/*.py"))]
    return [file.relative_to(ROOT).as_posix() for file in files]


@pytest.mark.parametrize("path", fenced_files())
def test_a_file_imports_only_what_its_room_may(path: str) -> None:
    """The three import rules of docs/architecture.md hold in every file."""
    assert offences(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("shared/core/token.py", "import time"),
        ("shared/core/token.py", "import asyncio"),
        ("shared/core/token.py", "from shared.tokens import cache"),
        ("shared/tokens/cache.py", "import httpx"),
        ("shared/telemetry/events.py", "from opentelemetry import metrics"),
        ("shared/tokens/cache.py", "def f():\n    from azure.identity import ManagedIdentityCredential"),
        ("shared/tokens/cache.py", "from azure import functions"),
        ("shared/api/vendor.py", "from shared.adapters.key_vault import KeyVault"),
        ("shared/api/vendor.py", "import emulator.entra.app"),
        ("shared/api/vendor.py", "import requests"),
        ("shared/api/vendor.py", "from benchmarks import hit"),
        ("emulator/entra/app.py", "from shared.core import token"),
        ("emulator/entra/app.py", "import benchmarks"),
        ("benchmarks/hit.py", "import function_app"),
        ("cli/check.py", "from shared.api import vendor"),
        ("cli/check.py", "from emulator.tour.site import PORTS"),
        ("cli/check.py", "import requests"),
        ("benchmarks/hit.py", "from tests.tokens.test_cache import Bench"),
    ],
)
def test_the_fence_stops_what_it_should(path: str, source: str) -> None:
    """The fence itself can fail: each kind of trespass is seen."""
    assert offences(path, source)
