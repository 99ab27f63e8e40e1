"""The deployment and the code agree: every setting that one side gives, the other side takes."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from starlette.routing import Route

from emulator.management.app import Management
from shared.wiring.settings import load_settings
from tests.infra.deployment import INFRA, ROOT, SHAPES, read_deployment
from tests.infra.policy import CUSTOM_ROLES, GIVEN

DOCUMENTED = json.loads((INFRA / "host-settings.json").read_text())
A_SETTING = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
NOT_A_SETTING = {"CLOCK_BOOTTIME"}  # the name of a clock
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.stem)


def read_by_the_code() -> set[str]:
    """Collect the app settings that the deployed files name."""
    files = [ROOT / "function_app.py", *ROOT.glob("shared/**/*.py")]
    found = {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and A_SETTING.fullmatch(node.value)
    }
    substituted = re.findall(r"(?<!\$)\$\{(\w+)\}", json.dumps(tomllib.loads((ROOT / "vend.toml").read_text())))
    return (found - NOT_A_SETTING) | set(substituted) | schedules()


def schedules() -> set[str]:
    """Collect the settings that the host puts into the triggers."""
    return set(re.findall(r'"%(\w+)%"', (ROOT / "function_app.py").read_text()))


@every_shape
def test_every_app_setting_is_read(shape: Path) -> None:
    """The code reads it, or infra/host-settings.json names the page that says who does."""
    settings = read_deployment(shape).settings.keys()
    assert settings - read_by_the_code() - DOCUMENTED["read_by_the_host"].keys() == set()


@every_shape
def test_every_setting_that_the_code_reads_is_given(shape: Path) -> None:
    """By the deployment, or by the platform, as infra/host-settings.json has it."""
    given = read_deployment(shape).settings.keys() | DOCUMENTED["set_by_the_platform"].keys()
    assert read_by_the_code() - given == set()


def test_every_documented_setting_is_in_use() -> None:
    """infra/host-settings.json keeps no setting that is gone, and names Microsoft's page for each."""
    given = set().union(*(read_deployment(shape).settings for shape in SHAPES))
    assert DOCUMENTED["read_by_the_host"].keys() - given == set()
    assert DOCUMENTED["set_by_the_platform"].keys() - read_by_the_code() == set()
    pages = [page for group in DOCUMENTED.values() for page in group.values()]
    assert [page for page in pages if not re.match(r"https://(learn\.microsoft\.com|github\.com/Azure)/", page)] == []


@every_shape
def test_the_deployed_configuration_loads(shape: Path) -> None:
    """vend.toml has no mistake on Azure, with the app settings as they are deployed."""
    settings = {name: at_run_time(value) for name, value in read_deployment(shape).settings.items()}
    assert load_settings({**settings, "CONTAINER_NAME": "an instance of Flex Consumption"}, root=ROOT).profiles


def at_run_time(value: str) -> str:
    """Put in what Azure knows after the deployment alone: an address, or an identity."""
    if not value.startswith("["):
        return value
    if ".blob." in value:
        return "https://vendconf.blob.core.windows.net/configuration/callers.toml"
    return "https://vend.vault.azure.net" if "https://" in value else "00000000-0000-4000-8000-00000000a991"


@every_shape
def test_both_run_the_same_python(shape: Path) -> None:
    """Azure runs the version that is developed and tested with."""
    runtime = read_deployment(shape).app["properties"]["functionAppConfig"]["runtime"]
    assert runtime["version"] == (ROOT / ".python-version").read_text().strip()


def test_the_routes_are_where_the_documents_say() -> None:
    """The prefix of host.json is that of every path in docs/openapi.json."""
    prefix = json.loads((ROOT / "host.json").read_text())["extensions"]["http"]["routePrefix"]
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    assert paths
    assert [path for path in paths if not path.startswith(f"/{prefix}/")] == []


@every_shape
def test_every_timer_runs(shape: Path) -> None:
    """The sync too: each shape has a store for it."""
    deployment = read_deployment(shape)
    timers = [name for name, trigger in deployment.triggers.items() if trigger["trigger"] == "timer_trigger"]
    assert sorted(timers) == ["certificate_rotation", "graph_sync"]
    assert [name for name in timers if deployment.settings.get(f"AzureWebJobs.{name}.Disabled") == "true"] == []


@every_shape
def test_azd_finds_the_app(shape: Path) -> None:
    """A service of azure.yaml is deployed to the resource that has its name as a tag."""
    services = re.search(r"^services:\n  (\w+):$", (ROOT / "azure.yaml").read_text(), re.MULTILINE)
    assert services
    assert read_deployment(shape).app["tags"]["azd-service-name"] == services[1]


def test_the_role_for_keys_opens_what_the_command_line_asks() -> None:
    """Each request for host keys that the local Azure Resource Manager answers needs one action of the role."""
    verbs = {"PUT": "write", "DELETE": "delete"}
    asked = set()
    for route in Management(authenticate=lambda _token: None).app.routes:
        assert isinstance(route, Route)
        [method] = sorted(route.methods or ())
        kind = route.path.partition("/host/default/")[2].lower().removesuffix("/{name}")
        asked.add(f"Microsoft.Web/sites/host/{kind}/{verbs.get(method, 'action')}")
    assert (asked, set()) == CUSTOM_ROLES["vend key operator"]


def test_the_guide_names_what_a_deployer_sets_and_gets() -> None:
    """docs/deployment.md has each variable of main.bicepparam that is not azd's own, each output and each role."""
    guide = (ROOT / "docs" / "deployment.md").read_text()
    variables = re.findall(r"readEnvironmentVariable\('(VEND_\w+)'", (INFRA / "main.bicepparam").read_text())
    outputs = re.findall(r"^output (\w+)", (INFRA / "main.bicep").read_text(), re.MULTILINE)
    assert [name for name in [*variables, *outputs] if name not in guide] == []
    places = {"insights": "Application Insights", "host storage": "storage for the host"}
    places |= {"configuration storage": "storage for the configuration"}
    rows = {tuple(re.split(r" *\| *", line)[1:4]) for line in guide.splitlines() if line.startswith("| ")}
    people = {"app": "the app", "operator": "an operator"}
    for who, role, place in GIVEN:
        assert any(
            row[0] == people[who] and row[1].startswith(role) and row[2] == places.get(place, place) for row in rows
        ), role
