"""The Bicep compiles without a word, and the committed snapshots are what it would deploy."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.deployment import INFRA, ROOT, SHAPES

BICEP = shutil.which("bicep")
needs_bicep = pytest.mark.skipif(BICEP is None, reason="bicep is not on PATH: only the committed snapshots are checked")
# What azd would know; main.bicepparam reads it.
AZD = {
    "AZURE_PRINCIPAL_ID": "00000000-0000-4000-8000-00000000d3b1",
    "VEND_CLIENT_ID": "00000000-0000-4000-8000-00000000c11e",
    "VEND_CALLER_IP_RANGES": "192.0.2.0/24,203.0.113.0/24",
    "VEND_DEPLOYER_IP_RANGES": "198.51.100.7/32",
}


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command at the root and return what it said."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environ}, timeout=60
    )


@needs_bicep
@pytest.mark.slow
@pytest.mark.parametrize("file", ["main.bicep", "main.bicepparam"])
def test_the_linter_is_content(file: str) -> None:
    """Types, lint rules and parameters: no error and no warning, with what azd knows."""
    done = run("bicep", "lint", str(INFRA / file), **AZD)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_bicep
@pytest.mark.slow
def test_a_deployment_that_lacks_a_value_says_which() -> None:
    """Who has set nothing gets no deployment with defaults, but the names of what to set."""
    done = run("bicep", "build-params", str(INFRA / "main.bicepparam"), "--stdout")
    assert done.returncode != 0
    assert set(re.findall(r"VEND_\w+", done.stderr)) == {name for name in AZD if name.startswith("VEND_")}


@needs_bicep
@pytest.mark.slow
def test_the_files_are_formatted(tmp_path: Path) -> None:
    """`bicep format` changes no file."""
    copy = shutil.copytree(INFRA, tmp_path / "infra")
    assert run("bicep", "format", "--pattern", f"{copy}/**/*.bicep*").returncode == 0
    for file in INFRA.rglob("*.bicep*"):
        assert (copy / file.relative_to(INFRA)).read_text() == file.read_text(), file.name


@needs_bicep
@pytest.mark.slow
def test_the_snapshots_are_what_would_be_deployed() -> None:
    """A change of the Bicep is committed together with what it changes: run `make infra`."""
    done = run("make", "infra-check")
    assert done.returncode == 0, done.stdout


def test_every_shape_has_a_snapshot() -> None:
    """What a user can choose is committed as what Azure would make of it."""
    assert SHAPES
    assert {shape.with_suffix(".snapshot.json") for shape in SHAPES} == set(INFRA.glob("snapshots/*.json"))


def test_no_diagnostic_is_silenced_but_two() -> None:
    """The compiler does not know two properties; each is named above with the page that documents it."""
    text = "".join(file.read_text() for file in INFRA.rglob("*.bicep*"))
    silenced = re.findall(r"https://\S+\n +#disable-next-line BCP037\n +(\w+):", text)
    assert sorted(silenced) == ["functionsRuntimeAdminIsolationEnabled", "siteUpdateStrategy"]
    assert text.count("#disable") == len(silenced)
