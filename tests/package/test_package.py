"""The package that `make package` builds: its bytes, what is in it, and the app that runs on it alone."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import package as benchmark
from benchmarks.rows import QUICK
from emulator.tour.site import start
from emulator.tour.tour import tour
from scripts.package import DOCUMENTS, PACKAGES, archive_name, build

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"
LEFT_OUT = (
    ".env", "billing.key", "host.keys.json", "local.settings.json", "shared/__pycache__/runtime.cpython-313.pyc",
    "shared/core/scratch.py", "shared/id_rsa", "venv/lib/python3.13/site-packages/jwt/__init__.py", "venv/pyvenv.cfg",
)  # fmt: skip
HOST = ("click", "croniter", "python-dateutil", "starlette", "uvicorn")
"""What the local host needs beside the packages of the app."""
UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552

pytestmark = pytest.mark.slow


def clone(to: Path) -> Path:
    """Copy the files that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S607
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a checkout that has been worked in."""
    checkout = clone(tmp_path_factory.mktemp("worked-in") / "checkout")
    for name in LEFT_OUT:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(b"not for Azure")
    return build(checkout, checkout / "dist", uv=UV)


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Azure mounts."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def test_another_clone_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    """Neither the path, nor the time of a file, nor what else lies in the folder makes a difference."""
    fresh = build(clone(tmp_path / "fresh"), tmp_path / "elsewhere", uv=UV)
    assert fresh.read_bytes() == archive.read_bytes()


def test_what_is_deployed_is_on_the_list(archive: Path) -> None:
    """Our own modules and documents, the pinned wheels without an installer's notes, and the bytecode of both."""
    assert archive.name == archive_name(ROOT)
    with zipfile.ZipFile(archive) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    sources = {name for name in files if name.endswith(".py")}
    compiled = {re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-313.pyc", name): name for name in sources}
    assert compiled.keys() == {name for name in files if "/__pycache__/" in f"/{name}"}
    assert {files[name][4:8] for name in compiled} == {UNCHECKED_HASH}

    ours = {name for name in files.keys() - compiled.keys() if not name.startswith(PACKAGES)}
    listed = subprocess.run(["git", "ls-files", "shared"], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S607
    assert ours == {*DOCUMENTS, "function_app.py", *listed.stdout.split()}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [
        found.groups() for line in lines if "win32" not in line and (found := re.match(r"([\w.-]+)==([\w.]+)", line))
    ]
    installed = {name.split("/")[3] for name in files if name.endswith(".dist-info/METADATA")}
    assert installed == {f"{name.replace('-', '_').lower()}-{version}.dist-info" for name, version in pins}
    assert [name for name in files if re.search(r"/site-packages/bin/|/RECORD$|/INSTALLER$|/\.lock$", name)] == []

    here = [str(place).encode() for place in (ROOT, archive.parent.parent, sys.prefix)]
    assert [name for name, content in files.items() if any(place in content for place in here)] == []


def test_azd_deploys_the_same_files(archive: Path) -> None:
    """The folder that azure.yaml names has what the archive has, and an empty list of what azd is to leave out."""
    service = (ROOT / "azure.yaml").read_text().partition("services:")[2]
    assert re.findall(r"^ +(dist|remoteBuild|shell|run): (.+)$", service, re.MULTILINE) == [
        ("dist", "dist/package"), ("remoteBuild", "false"), ("shell", "sh"), ("run", "make package"),
    ]  # fmt: skip
    folder = archive.parent / "package"
    with zipfile.ZipFile(archive) as packed:
        expected = {name: packed.read(name) for name in packed.namelist()}
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ignored = found.pop(".funcignore").decode().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == []
    assert found == expected


def test_every_module_imports_on_the_package_alone(unpacked: Path) -> None:
    """The runtime indexes the app, and nothing that the app imports, early or late, is missing."""
    modules = [file.relative_to(unpacked).with_suffix("").as_posix() for file in unpacked.glob("shared/**/*.py")]
    code = f"""
import importlib, sys
sys.path[:0] = {[str(unpacked / PACKAGES), str(unpacked)]!r}
from azure_functions_runtime.loader import index_function_app
print(*(function.get_function_name() for function in index_function_app({str(unpacked / "function_app.py")!r})))
for name in {modules!r}:
    importlib.import_module(name.removesuffix("/__init__").replace("/", "."))
strangers = {{"starlette", "uvicorn", "pytest", "orjson", "click", "msal", "requests"}} & sys.modules.keys()
assert not strangers, strangers
"""
    # -S: the packages of this environment are out of sight.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    timers = ["graph_sync", "certificate_rotation"]
    assert done.stdout.split() == [
        "token",
        "msi_token",
        "oauth2_token",
        "entra_token",
        "entra_discovery",
        "ready",
        "doctor",
        "sync",
        *timers,
    ]


def test_the_tour_goes_as_expected_on_the_package_alone(
    unpacked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app vends, serves an Azure SDK, refuses, survives an outage and syncs; its host brings five packages."""
    brought, folder = tmp_path / "host", tmp_path / "run"
    folder.mkdir()
    shutil.copytree(ROOT / "emulator", brought / "emulator", ignore=shutil.ignore_patterns("__pycache__"))
    for name in HOST:
        copy_package(name, brought)
    with ExitStack() as stack:
        tour(start(stack, folder, app_folder=unpacked, app_path=[unpacked / PACKAGES, brought]))
    assert capsys.readouterr().out.endswith("All six steps as expected.\n")


def copy_package(name: str, folder: Path) -> None:
    """Copy one installed package out of this environment."""
    package = importlib.metadata.distribution(name)
    for file in package.files or ():
        source = Path(str(package.locate_file(file)))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / file)


@pytest.mark.nightly
def test_the_benchmark_of_the_bytecode_runs(archive: Path) -> None:
    """`make bench ONLY=package` measures both rows of target 17; here on the package that is built already."""
    assert [row.id for row in benchmark.measure(archive, QUICK)] == ["package-import", "package-first-token"]
