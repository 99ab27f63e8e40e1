"""The host's own keys, one or two for each caller: those of the local host, and those of an app in Azure.

A value is seen when it is made and never again: what a host holds is known here by its SHA-256 alone.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

import httpx
import typer

from cli.documents import Documents
from cli.http import ask, is_loopback
from cli.operator_login import operator_token
from cli.screen import stop

API_VERSION = "2024-11-01"
GOOD = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}
RESOURCE_ID = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.()-]{1,90}/providers/Microsoft\.Web/sites/[A-Za-z0-9-]{2,60}\Z",
    re.IGNORECASE | re.ASCII,
)

ResourceId = Annotated[
    str | None,
    typer.Option(
        "--resource-id",
        metavar="ID",
        envvar="VEND_RESOURCE_ID",
        help="The function app in Azure, as `azd env get-values` names it. Without it: the host of `make run`.",
    ),
]


class HostKeys(Protocol):
    """The host-scoped function keys of one app; whatever fails ends with exit code 1."""

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""


def check_cloud(documents: Documents, *, app: str) -> None:
    """End with exit code 1 where the documents are those of a `make run` and the app is not, or the other way round.

    Whoever is revoked in the wrong document goes on.
    """
    if is_loopback(documents.settings.home.management) is not is_loopback(app):
        raise stop(
            f"{documents.settings_file} and the app at {app} are not of the same cloud.",
            "Name both: --config PATH and --app URL, or VEND_CONFIG and VEND_URL.",
        )


def host_keys(documents: Documents, *, app: str, resource_id: str | None) -> HostKeys:
    """Find the host that the app at this address runs in, or end with exit code 1."""
    management = documents.settings.home.management
    if resource_id is None and is_loopback(app) and documents.host_keys:
        return LocalHost(app, documents.host_keys)
    if resource_id is None:
        raise stop(
            "Which function app? --resource-id ID, or VEND_RESOURCE_ID.",
            'eval "$(azd env get-values)" sets it, and VEND_URL. Or start one on this machine: make run',
        )
    if not RESOURCE_ID.match(resource_id):
        raise stop("--resource-id: must be /subscriptions/.../providers/Microsoft.Web/sites/NAME")
    return AzureApp(
        f"{management}{resource_id}/host/default",
        token=lambda: operator_token(management),
        ca_file=documents.settings.network.ca_file,
    )


class LocalHost:
    """The host of `make run`, by its own key API and the master key that it wrote down.

    Source: https://github.com/Azure/azure-functions-host/wiki/Key-management-API
    """

    def __init__(self, app: str, made: Path) -> None:
        self._url = f"{app}/admin/host/functionkeys"
        try:
            self._master = str(json.loads(made.read_text())["master"])
        except (OSError, ValueError, LookupError):
            raise stop(f"{made} cannot be read", "Is `make run` running?") from None

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        return {key["name"]: _digest(key["value"]) for key in self._ask("GET", "")["keys"]}

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""
        return str(self._ask("POST", name)["value"])

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""
        self._ask("DELETE", name)

    def _ask(self, method: str, name: str) -> Any:  # noqa: ANN401  # JSON
        request = httpx.Request(
            method, f"{self._url}/{quote(name, safe='')}".rstrip("/"), headers={"x-functions-key": self._master}
        )
        answer = ask(request, hint="Is `make run` running?")
        return _json(answer, method, hint="Is it the host of the same `make run`?")


class AzureApp:
    """A function app in Azure, by Azure Resource Manager.

    Source: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret
    """

    def __init__(self, url: str, *, token: Callable[[], str], ca_file: str) -> None:
        self._url = url
        self._token = cache(token)  # az takes a second for each
        self._ca_file = ca_file

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        return {name: _digest(value) for name, value in self._ask("POST", "listkeys")["functionKeys"].items()}

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""
        # No value: home-made ones can be refused.
        made = self._ask("PUT", f"functionKeys/{quote(name, safe='')}", {"properties": {"name": name}})
        return str(made.get("properties", made)["value"])

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""
        self._ask("DELETE", f"functionKeys/{quote(name, safe='')}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # JSON
        request = httpx.Request(
            method,
            f"{self._url}/{path}",
            params={"api-version": API_VERSION},
            headers={"authorization": f"Bearer {self._token()}"},
            json=body,
        )
        answer = ask(request, hint="Does your network reach Azure Resource Manager?", ca_file=self._ca_file)
        hint = "Is --resource-id (VEND_RESOURCE_ID) right, and is it your subscription?"
        if answer.status_code == HTTPStatus.FORBIDDEN:
            hint = "You need the role Website Contributor on the function app."
        return _json(answer, method, hint=hint)


def _json(answer: httpx.Response, method: str, *, hint: str) -> Any:  # noqa: ANN401  # JSON
    if method == "DELETE" and answer.status_code == HTTPStatus.NOT_FOUND:
        return {}
    if answer.status_code not in GOOD:
        raise stop(f"{answer.url.scheme}://{answer.url.netloc.decode()} answers {answer.status_code}.", hint)
    return answer.json() if answer.content else {}


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
