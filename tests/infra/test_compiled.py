"""The Bicep compiles without a word, and the committed snapshots are what it would deploy."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.deployment import INFRA, ROOT, SHAPES, Deployment, read_deployment

BICEP = shutil.which("bicep")
needs_bicep = pytest.mark.skipif(BICEP is None, reason="bicep is not on PATH: only the committed snapshots are checked")
# What azd would know; main.bicepparam reads it. As people write lists.
AZD = {
    "AZURE_PRINCIPAL_ID": "00000000-0000-4000-8000-00000000de91",
    "VEND_CLIENT_ID": "00000000-0000-4000-8000-00000000c11e",
    "VEND_CALLER_IP_RANGES": " 192.0.2.77/24 , 203.0.113.9,2001:db8::1,",
    "VEND_DEPLOYER_IP_RANGES": "198.51.100.7",
}
OPERATOR = "00000000-0000-4000-8000-00000000d3b1"


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
def test_lists_are_read_as_people_write_them() -> None:
    """A range becomes a network, and an address a network of its own. The deployer is no operator."""
    operators = {"VEND_OPERATOR_IDS": f" {OPERATOR},{OPERATOR.upper()}, "}
    done = run("bicep", "build-params", str(INFRA / "main.bicepparam"), "--stdout", **AZD, **operators)
    assert done.returncode == 0, done.stderr
    found = json.loads(json.loads(done.stdout)["parametersJson"])["parameters"]
    assert found["callerIpRanges"]["value"] == ["192.0.2.0/24", "203.0.113.9/32", "2001:db8::1/128"]
    assert found["deployerIpRanges"]["value"] == ["198.51.100.7/32"]
    assert found["operatorIds"]["value"] == [OPERATOR]


@needs_bicep
@pytest.mark.slow
def test_what_is_no_network_is_refused_before_anything_is_made() -> None:
    """The compiler names the parameter and the range."""
    done = run(
        "bicep", "build-params", str(INFRA / "main.bicepparam"), "--stdout",
        **{**AZD, "VEND_CALLER_IP_RANGES": "192.0.2.0/24,203.0.113.400"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "callerIpRanges" in done.stderr
    assert "203.0.113.400" in done.stderr


@needs_bicep
@pytest.mark.slow
def test_a_salt_changes_every_name_that_must_be_unique(tmp_path: Path) -> None:
    """Vault, app, storage and custom roles get other names; what the resource group alone knows keeps its own."""
    salted = shutil.copytree(INFRA, tmp_path / "infra") / "snapshots" / "smallest.bicepparam"
    salted.write_text(salted.read_text() + "param nameSalt = 'again'\n")
    done = run("bicep", "snapshot", str(salted), "--mode", "overwrite", "--resource-group", "vend",
               "--location", "westeurope", "--subscription-id", "00000000-0000-4000-8000-000000005ab5",
               "--tenant-id", "00000000-0000-4000-8000-000000007e4a")  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = (names(read_deployment(shape)) for shape in (INFRA / "snapshots" / salted.name, salted))
    assert before & after == {"vend-identity", "vend-insights", "vend-logs", "vend-plan"}


def names(deployment: Deployment) -> set[str]:
    """Collect the names of what is made on its own, and of the roles."""
    own = {found["name"] for found in deployment.resources if found["id"].count("/providers/") == 1}
    roles = {role["properties"]["roleName"] for role in deployment.all("Microsoft.Authorization/roleDefinitions")}
    return roles | {name for name in own if "/" not in name and name != "default"}


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


def test_a_silenced_diagnostic_has_its_page() -> None:
    """The compiler does not know two properties, and the newest version of one type is a preview."""
    text = "".join(file.read_text() for file in INFRA.rglob("*.bicep"))
    silenced = re.findall(r"https://\S+\n *#disable-next-line (\S+)\n *(?:resource )?(\w+)", text)
    assert sorted(silenced) == [
        ("BCP037", "functionsRuntimeAdminIsolationEnabled"),
        ("BCP037", "siteUpdateStrategy"),
        ("use-recent-api-versions", "auditLog"),
        ("use-recent-api-versions", "auditLog"),
    ]
    assert text.count("#disable") == len(silenced)
