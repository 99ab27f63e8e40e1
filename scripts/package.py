"""`make package`: build what is deployed, where it was tested; the same bytes each time.

The platform's own build cannot be relied on for this version of Python, and nobody could test what it makes. So the
package has the wheels that requirements.txt pins by hash, for the machines of Azure Functions, and compiled bytecode.

What goes in is a list, not what is left out: the files that the app imports or reads, and those wheels.
"""

import argparse
import ast
import hashlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY = "function_app"
DOCUMENTS = ("host.json", "vend.toml")
PACKAGES = ".python_packages/lib/site-packages"
"""Where the Python worker of Azure Functions looks for packages.

https://learn.microsoft.com/azure/azure-functions/functions-reference-python#local-build
"""
PLATFORM = "x86_64-manylinux_2_28"  # older wheels, such as those of manylinux2014, fit it too
NOT_READ = ("bin", ".lock", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED")
"""What an installer adds to the wheels: its notes, and commands whose first line is a path of this machine."""
FUNCIGNORE = "# Everything in this folder is deployed. Without this file azd would leave the bytecode out.\n"
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first moment of the ZIP format


class PackageError(Exception):
    """The package cannot be built; the text names the reason."""


def build(root: Path, to: Path, *, uv: Path) -> Path:
    """Build the package of a checkout.

    Args:
        root: the checkout.
        to: the folder that receives `package/`, which azd deploys, and the same files as one archive.
        uv: the program that installs packages.

    Returns:
        The path of the archive, whose name has the version; archives of other versions are removed.

    Raises:
        PackageError: `vend.toml` names a file that cannot be packed.
        subprocess.CalledProcessError: a package cannot be installed, or a module cannot be compiled.
    """
    folder = to / "package"
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(own_files(root)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    _install(root / "requirements.txt", folder / PACKAGES, uv=uv)
    _compile(folder)
    for old in to.glob("vend*.zip"):
        old.unlink()
    archive = to / archive_name(root)
    _pack(folder, archive)
    (folder / ".funcignore").write_text(FUNCIGNORE)
    return archive


def archive_name(root: Path) -> str:
    """Return the name of the archive of a checkout: it has the version of `pyproject.toml`."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return f"{project['name']}-{project['version']}.zip"


def own_files(root: Path) -> set[str]:
    """Return the files of a checkout that the app imports or reads, relative to its root.

    Raises:
        PackageError: `vend.toml` names a file that does not exist, or lies outside of the checkout.
    """
    return {*DOCUMENTS, *_modules(root), *_named_files(root)}


def _modules(root: Path) -> set[str]:
    """Return the modules that the app imports, at its start or later, directly or not."""
    waiting, found = [ENTRY], set[str]()
    while waiting:
        module = waiting.pop().replace(".", "/")
        for file in (f"{module}.py", f"{module}/__init__.py"):
            if (root / file).is_file() and file not in found:
                found.add(file)
                waiting += _imports((root / file).read_bytes())
    return found


def _imports(source: bytes) -> Iterator[str]:
    """Yield each module that a source may import, and the packages around it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                named = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                named = [f"{module}.{alias.name}" for alias in names]
            case _:
                continue
        for name in named:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _named_files(root: Path) -> Iterator[str]:
    """Yield the files that `vend.toml` names by a path relative to the app."""
    settings = tomllib.loads((root / "vend.toml").read_text())
    for name in (settings.get("callers", "callers.toml"), settings.get("network", {}).get("ca_file", "")):
        if not name or "://" in name or "${" in name or Path(name).is_absolute():
            continue
        file = (root / name).resolve()
        if not file.is_relative_to(root.resolve()) or not file.is_file():
            raise PackageError(f"vend.toml names {name}, which is no file of this folder")
        yield file.relative_to(root.resolve()).as_posix()


def _install(requirements: Path, to: Path, *, uv: Path) -> None:
    # No link into uv's cache: a change in the package would be one in the cache.
    subprocess.run(  # noqa: S603  # our own program
        [
            uv, "pip", "install", "--quiet", "--target", to, "--requirements", requirements, "--require-hashes",
            "--no-deps", "--only-binary", ":all:", "--python", sys.executable, "--python-version", "3.13",
            "--python-platform", PLATFORM, "--link-mode", "copy",
        ],
        check=True,
    )  # fmt: skip
    for pattern in NOT_READ:
        for found in to.glob(pattern):
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink()


def _compile(folder: Path) -> None:
    """Compile every module: neither the time of a source nor the path of this machine is in the bytecode."""
    subprocess.run(
        [sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."],
        cwd=folder,
        check=True,
    )


def _pack(folder: Path, archive: Path) -> None:
    """Write every file of a folder into an archive, with one time, one mode and one order for all machines."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), OLDEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, file.read_bytes())


def main() -> None:
    """Build the package of this checkout into `dist/`, and print its size and its hash."""
    parser = argparse.ArgumentParser(prog="python -m scripts.package", description="Build what is deployed.")
    parser.add_argument("--uv", type=Path, required=True, help="the program that installs packages")
    options = parser.parse_args()
    try:
        archive = build(ROOT, ROOT / "dist", uv=options.uv)
    except PackageError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)  # the program has said why
    with zipfile.ZipFile(archive) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
        count = len(packed.infolist())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    size = archive.stat().st_size
    sys.stdout.write(
        f"{archive.relative_to(ROOT)}: {count:,} files, {size / 1e6:.1f} MB ({unpacked / 1e6:.1f} MB unpacked)\n"
        f"sha256 {digest}\n"
    )


if __name__ == "__main__":
    main()
