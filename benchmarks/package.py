"""Target 17: a new process on the package that is deployed, with its bytecode and without."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks.ours import SCOPE
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI, by_turns, medians
from emulator.cloud import LocalCloud
from emulator.host.keys import generate
from emulator.tour.site import CALLER, app_settings, write_configuration
from scripts.package import PACKAGES, ROOT, build

BARE = "without bytecode"
UV = ROOT / ".tools" / "bin" / "uv"
PROCESS = """\
import time
began = time.perf_counter()
import function_app
imported = time.perf_counter() - began

import asyncio, json, sys
from shared.core.request import Incoming
from shared.runtime import runtime

key, form = sys.argv[1:]
headers = {"x-functions-key": key, "content-type": "application/x-www-form-urlencoded"}
asked = runtime().routes["token"](Incoming("POST", "http://localhost/api/token", headers, form.encode()))
status = asyncio.run(asked).status
assert status == 200, status
print(json.dumps([imported, time.perf_counter() - began]))
"""


class Start(NamedTuple):
    """How long a new process took, in seconds from its first line: to have the app imported, and its first token."""

    imported: float
    first_token: float


def rows(scale: Scale) -> list[Row]:
    """Build the package and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(build(ROOT, Path(folder), uv=UV), scale)


def measure(archive: Path, scale: Scale) -> list[Row]:
    """Start new processes on a package, by turns with its bytecode and without."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cloud = stack.enter_context(LocalCloud(folder))
        key = generate()
        write_configuration(cloud, folder, {CALLER: key})
        settings = app_settings(cloud, folder / "vend.toml")
        form = urlencode({"grant_type": "client_credentials", "scope": SCOPE})
        contenders = {}
        for name in (VEND, BARE):
            app = folder / name
            _unpack(archive, app, bytecode=name == VEND)
            contenders[name] = partial(start, PROCESS, app, settings, key, form)
        for contender in contenders.values():
            contender()  # the files are in the memory of the machine from here on
        found = by_turns(contenders, scale)
        unpacked = sum(file.stat().st_size for file in (folder / VEND).rglob("*") if file.is_file())
    size = f"{archive.stat().st_size / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked"
    return [
        compared(
            medians({name: [start.imported * MILLI for start in starts] for name, starts in found.items()}),
            row_id="package-import",
            what=f"New process on the package ({size}): import of function_app",
            unit="ms",
            against=BARE,
            goal=Goal("ratio", "<=", 0.5),
        ),
        compared(
            medians({name: [start.first_token * MILLI for start in starts] for name, starts in found.items()}),
            row_id="package-first-token",
            what="The same to its first token, with Entra and Key Vault on this machine",
            unit="ms",
            against=BARE,
            goal=Goal("ratio", "<=", 0.5),
        ),
    ]


def _unpack(archive: Path, folder: Path, *, bytecode: bool) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder, [name for name in packed.namelist() if bytecode or not name.endswith(".pyc")])


def start(process: str, app: Path, settings: Mapping[str, str], *arguments: str) -> Start:
    """Start a new process that has the packages of an unpacked package, and return how long it took."""
    # -S: the packages of this environment are out of sight; -B: no bytecode is written on the way.
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-B", "-c", process, *arguments],
        env={"PATH": os.environ["PATH"], **settings, "PYTHONPATH": f"{app / PACKAGES}{os.pathsep}{app}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Start(*json.loads(done.stdout.splitlines()[-1]))
