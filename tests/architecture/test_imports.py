"""Which room may import which: the rules of docs/architecture.md, by folders."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = (
    {"core"},
    {"telemetry", "system", "single_flight"},
    {"adapters"},
    {"credentials"},
    {"tokens", "callers", "directory"},
    {"api"},
    {"wiring"},
    {"runtime"},
)
"""The rooms of `shared/`, the lowest floor first. A room imports its own floor and the floors below."""
ADAPTERS_MAY_IMPORT = {"core", "telemetry", "adapters"}
BUILDERS = {"wiring", "runtime"}
"""Only these import adapters: every other room knows them as a callable or a small Protocol."""
PURE = {
    "base64", "binascii", "collections", "dataclasses", "datetime", "email.utils", "enum", "functools", "hashlib",
    "hmac", "itertools", "json", "math", "operator", "re", "string", "tomllib", "types", "typing", "urllib.parse",
}  # fmt: skip
"""The standard library that the core may use: nothing here does I/O, reads a clock or draws a random number."""
CLIENTS = ("certifi", "httpcore", "psycopg", "sqlalchemy")
"""Third-party clients of outside systems, and what they need: only adapters import them."""
ELSEWHERE = {"azure.functions": "function_app", "opentelemetry": "telemetry"}
"""Third-party libraries that one other room imports."""
EVERYWHERE = {"cryptography", "shared"}
NOT_DEPLOYED = {"benchmarks", "cli", "emulator", "scripts", "tests"}
STRANGERS_TO = {
    "emulator": {"shared", "function_app", "tests", "cli", "benchmarks"},
    "benchmarks": {"function_app", "cli", "tests.tokens", "tests.api", "tests.end_to_end"},
}
"""What rooms that are not deployed may not import."""
OPEN_TO_CLI = {
    "azure.core.exceptions", "azure.identity", "cli", "httpx", "rich", "shared.adapters.file", "shared.adapters.http",
    "shared.core", "tomlkit", "typer",
}  # fmt: skip
"""The command line reads the documents and decides as the app does; it asks the app over HTTP for everything else."""
MOST_ROOMS = 10
MOST_ARGUMENTS = 7


def imports(source: str) -> Iterator[str]:
    """List every module that a source imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                # `from azure import functions` names a module too.
                yield from (f"{module}.{alias.name}" for alias in names)


def within(name: str, package: str) -> bool:
    """Return whether a module is that package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def room_of(path: str) -> str:
    """Name the room of a deployed file."""
    return Path(path).parts[1].removesuffix(".py") if path.startswith("shared/") else Path(path).stem


def floor_of(room: str) -> int:
    """Number the floor of a room."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def offences(path: str, source: str) -> list[str]:
    """List the imports of one file that cross a wall."""
    top = path.split("/", maxsplit=1)[0]
    if top in {"cli", *STRANGERS_TO}:
        return [f"{path}: imports {name}" for name in imports(source) if is_strange_to(top, name)]
    room = room_of(path)
    return [f"{path}: {fault}" for name in imports(source) for fault in faults(room, name)]


def is_strange_to(room: str, name: str) -> bool:
    """Return whether a room that is not deployed may not import a module."""
    if room == "cli":
        ours = any(within(name, module) for module in OPEN_TO_CLI)
        return not ours and name.split(".", maxsplit=1)[0] not in sys.stdlib_module_names
    return any(within(name, stranger) for stranger in STRANGERS_TO[room])


def faults(room: str, name: str) -> Iterator[str]:
    """List the rules that a room breaks when it imports a module."""
    top = name.split(".", maxsplit=1)[0]
    if top in NOT_DEPLOYED:
        yield f"deployed code imports {name}, which is not deployed"
    if top == "shared" and room != "function_app":
        yield from faults_between(room, name.split(".")[1], name)
    if room == "core" and not any(within(name, module) for module in PURE | {"shared.core", "cryptography"}):
        yield f"the core is pure, and imports {name}"
    home = next((home for library, home in ELSEWHERE.items() if within(name, library)), None)
    if home is not None and home != room:
        yield f"only {home} imports {name}"
    if any(within(name, client) for client in CLIENTS) and room != "adapters":
        yield f"only adapters import {name}"
    known = home is not None or top in EVERYWHERE or any(within(name, client) for client in CLIENTS)
    if top not in sys.stdlib_module_names and top not in NOT_DEPLOYED and not known:
        yield f"{name} is no dependency of the deployed app"


def faults_between(room: str, other: str, name: str) -> Iterator[str]:
    """List the rules that a room breaks when it imports another one."""
    if floor_of(other) > floor_of(room):
        yield f"{name} lies on a higher floor"
    if room == "adapters" and other not in ADAPTERS_MAY_IMPORT:
        yield f"an adapter imports {name}"
    if other == "adapters" and room not in BUILDERS | {"adapters"}:
        yield f"only {' and '.join(sorted(BUILDERS))} import adapters"


def files_of(*rooms: str) -> list[str]:
    """List the Python files of these folders, relative to the root."""
    return sorted(file.relative_to(ROOT).as_posix() for room in rooms for file in ROOT.glob(f"{room}/**/*.py"))


@pytest.mark.parametrize("path", ["function_app.py", *files_of("shared", "emulator", "benchmarks", "cli")])
def test_a_file_imports_only_what_its_room_may(path: str) -> None:
    """The core is pure, adapters know the core and telemetry alone, and only builders know adapters."""
    assert offences(path, (ROOT / path).read_text()) == []


def test_every_client_has_one_adapter() -> None:
    """One file or folder shows everything that is asked of an outside system."""
    homes: Mapping[str, set[str]] = defaultdict(set)
    for path in files_of("shared/adapters"):
        for name in imports((ROOT / path).read_text()):
            for client in CLIENTS:
                if within(name, client):
                    homes[client].add(Path(path).parts[2])
    assert homes.keys() == set(CLIENTS)
    assert {client: found for client, found in homes.items() if len(found) > 1} == {}


def test_no_imports_go_in_a_circle() -> None:
    """Each module of the app can be understood after the modules that it imports."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files_of("shared")
    }

    @cache
    def below(module: str) -> frozenset[str]:
        named = imports((ROOT / modules[module]).read_text())
        return frozenset(parent for name in named for parent in (name, name.rpartition(".")[0]) if parent in modules)

    def circle(module: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if module in way:
            return (*way[way.index(module) :], module)
        if module in done:
            return ()
        found = next((found for other in below(module) if (found := circle(other, (*way, module)))), ())
        done.add(module)
        return found

    done: set[str] = set()
    assert [found for module in modules if (found := circle(module, ()))] == []


def test_the_house_is_small_enough_to_know() -> None:
    """Every room has its floor, there are at most ten, and no module is longer than 350 lines."""
    rooms = {room_of(path) for path in files_of("shared")} - {"__init__"}
    assert rooms == set().union(*FLOORS)
    assert len([room for room in rooms if (ROOT / "shared" / room).is_dir()]) <= MOST_ROOMS
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in files_of("shared", "cli", "emulator")}
    assert {path: count for path, count in lines.items() if count > 350} == {}


@pytest.mark.parametrize("path", files_of("shared", "cli", "emulator"))
def test_what_travels_together_is_one_value(path: str) -> None:
    """A class with behaviour is made of at most seven things."""
    counts = {
        node.name: len([*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs]) - 1
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef)
        for init in node.body
        if isinstance(init, ast.FunctionDef) and init.name == "__init__"
    }
    assert {name: count for name, count in counts.items() if count > MOST_ARGUMENTS} == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("shared/core/token.py", "import time"),
        ("shared/core/token.py", "import asyncio"),
        ("shared/core/token.py", "from shared.tokens import cache"),
        ("shared/core/entra/refusal.py", "from shared.telemetry.events import Events"),
        ("shared/adapters/http.py", "from shared.system import System"),
        ("shared/adapters/blob.py", "from shared.tokens.cache import TokenCache"),
        ("shared/tokens/cache.py", "import httpcore"),
        ("shared/telemetry/loop_lag.py", "from shared.tokens import cache"),
        ("shared/tokens/cache.py", "from opentelemetry import metrics"),
        ("shared/tokens/cache.py", "def f():\n    from azure.identity import ManagedIdentityCredential"),
        ("shared/tokens/cache.py", "from azure import functions"),
        ("shared/tokens/cache.py", "from shared.api import answers"),
        ("shared/wiring/tokens.py", "from shared import runtime"),
        ("shared/wiring/tokens.py", "import sqlalchemy"),
        ("shared/api/vendor.py", "from shared.adapters.key_vault import KeyVault"),
        ("shared/api/vendor.py", "import emulator.entra.app"),
        ("shared/api/vendor.py", "import requests"),
        ("shared/api/vendor.py", "from benchmarks import hit"),
        ("emulator/entra/app.py", "from shared.core import token"),
        ("emulator/entra/app.py", "import benchmarks"),
        ("benchmarks/hit.py", "import function_app"),
        ("cli/check.py", "from shared.api import vendor"),
        ("cli/check.py", "from shared.adapters.blob import BlobSource"),
        ("cli/check.py", "from emulator.tour.site import PORTS"),
        ("cli/check.py", "import requests"),
        ("benchmarks/hit.py", "from tests.tokens.test_cache import Bench"),
    ],
)
def test_the_walls_stop_what_they_should(path: str, source: str) -> None:
    """The rules themselves can fail: each kind of trespass is seen."""
    assert offences(path, source)
