"""What would be deployed, read from the committed files; no compiler is needed."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SHAPES = sorted(INFRA.glob("snapshots/*.bicepparam"))

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One shape: the resources that Azure would make, what azd is told, and the three files that decide with them.

    Args:
        resources: with their values, as far as they are known before the deployment.
        outputs: by name.
        host: host.json.
        certificate: the policy of the certificate.
        triggers: what the decorator of each function says, by the name of the function.
    """

    resources: list[Json]
    outputs: Json
    host: Json
    certificate: Json
    triggers: Json

    def all(self, kind: str) -> list[Json]:
        """Find the resources of one type."""
        return [resource for resource in self.resources if resource["type"] == kind]

    def one(self, kind: str) -> Json:
        """Find the only resource of its type."""
        (resource,) = self.all(kind)
        return resource

    @property
    def app(self) -> Json:
        """The function app."""
        return self.one("Microsoft.Web/sites")

    @property
    def settings(self) -> dict[str, str]:
        """Its app settings."""
        return {setting["name"]: setting["value"] for setting in self.app["properties"]["siteConfig"]["appSettings"]}

    @property
    def accounts(self) -> list[Json]:
        """The storage accounts."""
        return self.all("Microsoft.Storage/storageAccounts")

    @property
    def roles_given(self) -> list[Json]:
        """The role assignments."""
        return self.all("Microsoft.Authorization/roleAssignments")

    def is_host_storage(self, account: Json) -> bool:
        """Tell the host's account from the others."""
        return bool(account["name"] == self.settings.get("AzureWebJobsStorage__accountName"))

    def is_directory_storage(self, account: Json) -> bool:
        """Tell the account with the copy of the directory from the others."""
        return account["name"] in self.settings.get("DIRECTORY_URL", "")


def read_deployment(shape: Path) -> Deployment:
    """Read the committed snapshot of a shape."""
    snapshot = _read(shape.with_suffix(".snapshot.json"))
    return Deployment(
        resources=snapshot["predictedResources"],
        outputs=snapshot["outputs"],
        host=_read(ROOT / "host.json"),
        certificate=json.loads(snapshot["outputs"]["CERTIFICATE_POLICY"]),
        triggers=_triggers(),
    )


def at(document: Json, path: str) -> Any:  # noqa: ANN401  # whatever stands there
    """Follow a path of names with dots between them; None where it ends."""
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def scope_of(extension: Json) -> str:
    """Give the id of the resource that a role assignment, a lock or a diagnostic setting belongs to."""
    return re.sub(
        r"/providers/Microsoft\.(Authorization|Insights)/(roleAssignments|locks|diagnosticSettings)/.*",
        "",
        extension["id"],
    )


def _read(file: Path) -> Json:
    found: Json = json.loads(file.read_text())
    return found


def _triggers() -> Json:
    """Read the decorators of function_app.py: their literal arguments, and `trigger`, the name of the decorator."""
    found: Json = {}
    for node in ast.parse((ROOT / "function_app.py").read_text()).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
                given = {
                    word.arg: word.value.value for word in decorator.keywords if isinstance(word.value, ast.Constant)
                }
                found[node.name] = {"trigger": decorator.func.attr, **given}
    return found
