"""The host-scoped function keys of one app: of the local host, or of an app in Azure.

The keys of NAME are called vend-NAME and vend-NAME-2, in turn. A command makes and deletes no key of another name.
A value is handed over when it is made. Of the keys that are listed, a command keeps the SHA-256 alone, and in memory
the value of one that opens the readiness of the app.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

import httpx
import typer

from cli.documents import Documents
from cli.http import ask, bearer, function_key, is_loopback
from cli.operator_login import operator_token
from cli.patience import Patience
from cli.screen import say, stop
from shared.core.retry import retry_after

API_VERSION = "2024-11-01"
DEFAULT = "default"
"""The key that each host has from its start."""
REPEATED = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
"""And every 5xx: Azure Resource Manager is busy, or another operation is under way."""
RESTARTING = "host runtime"
"""A host that restarts makes Azure Resource Manager answer 400 with these words."""
LONGEST_SECONDS = 60
SECONDS_BETWEEN = 5.0
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

    def opening_key(self, *, patient: bool) -> str:
        """Return the value of a key that opens a route of function level.

        Args:
            patient: whether a failure that may pass is repeated.
        """

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""


def slots_of(caller: str) -> tuple[str, str]:
    """Return the names of a caller's keys among those of the host: it has two while it is rolled."""
    return f"vend-{caller}", f"vend-{caller}-2"


def check_cloud(documents: Documents, *, app: str) -> None:
    """End with exit code 1 where the documents are those of a `make run` and the app is not, or the other way round.

    A caller that is revoked in the wrong document goes on.
    """
    if is_loopback(documents.settings.home.management) is not is_loopback(app):
        raise stop(
            f"{documents.settings_file} and the app at {app} are not of the same cloud.",
            "Name both: --config PATH and --app URL, or VEND_CONFIG and VEND_URL.",
        )


def host_keys(documents: Documents, *, app: str, resource_id: str | None, patience: Patience) -> HostKeys:
    """Find the host that the app at this address runs in, or end with exit code 1."""
    management = documents.settings.home.management
    if is_of_make_run(documents, app=app, resource_id=resource_id) and documents.host_keys:
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
        patience=patience,
    )


def is_of_make_run(documents: Documents, *, app: str, resource_id: str | None) -> bool:
    """Return whether an app is that of a `make run`, which is one worker process."""
    return resource_id is None and is_loopback(app) and documents.host_keys is not None


class LocalHost:
    """The host of `make run`, by its own key API and the master key that it wrote down.

    Source: https://github.com/Azure/azure-functions-host/wiki/Key-management-API
    """

    def __init__(self, app: str, made: Path) -> None:
        self._app = app
        self._url = f"{app}/admin/host/functionkeys"
        try:
            self._master = str(json.loads(made.read_text())["master"])
        except (OSError, ValueError, LookupError):
            raise stop(f"{made} cannot be read", "Is `make run` running?") from None

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        return {key["name"]: _digest(key["value"]) for key in self._ask("GET", "")["keys"]}

    def opening_key(self, *, patient: bool) -> str:  # noqa: ARG002  # a host of this machine is there or not
        """Return the master key, which opens every route of this host."""
        return self._master

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""
        return str(self._ask("POST", name)["value"])

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""
        self._ask("DELETE", name)

    def _ask(self, method: str, name: str) -> Any:  # noqa: ANN401  # JSON
        request = httpx.Request(method, f"{self._url}/{quote(name, safe='')}".rstrip("/"))
        answer = ask(request, hint="Is `make run` running?", secret=function_key(self._master, app=self._app))
        return _json(answer, method, hint="Is it the host of the same `make run`?")


class AzureApp:
    """A function app in Azure, by Azure Resource Manager.

    Source: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret

    Args:
        url: of the host, below the cloud's management origin: the token goes there alone.
        token: makes a token for Azure Resource Manager.
        ca_file: roots beside those that are trusted anyway.
        patience: how to wait where a failure may pass.
    """

    def __init__(self, url: str, *, token: Callable[[], str], ca_file: str, patience: Patience) -> None:
        self._url = url
        self._token = cache(token)  # az takes a second for each
        self._ca_file = ca_file
        self._patience = patience

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        return {name: _digest(value) for name, value in self._list().items()}

    def opening_key(self, *, patient: bool) -> str:
        """Return the default key of the host, or another one of function level."""
        held = self._list(patient=patient)
        key = held.get(DEFAULT) or next(iter(held.values()), None)
        if key is None:
            raise stop("The host has no function key that opens the app's readiness.", "Name a caller: --as NAME")
        return key

    def make(self, name: str) -> str:
        """Have one made in place of what has this name, and return its value."""
        # No value: home-made ones can be refused.
        made = self._ask("PUT", f"functionKeys/{quote(name, safe='')}", {"properties": {"name": name}})
        return str(made.get("properties", made)["value"])

    def delete(self, name: str) -> None:
        """Delete one; one that is not there is no failure."""
        self._ask("DELETE", f"functionKeys/{quote(name, safe='')}")

    def _list(self, *, patient: bool = True) -> Mapping[str, str]:
        listed: Mapping[str, str] = self._ask("POST", "listkeys", patient=patient)["functionKeys"]
        return listed

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, patient: bool = True) -> Any:  # noqa: ANN401  # JSON
        answer = self._send(method, path, body)
        until, told = self._patience.clock() + LONGEST_SECONDS, False
        while patient and _may_pass(answer):
            named = retry_after(answer.headers.get("retry-after"), now=time.time())
            wait = named.total_seconds() if named else SECONDS_BETWEEN
            if self._patience.clock() + wait > until:
                break
            if not told:
                say(f"Azure Resource Manager answers {answer.status_code}; repeated for a minute.", error=True)
                told = True
            self._patience.sleep(wait)
            answer = self._send(method, path, body)
        hint = "Is --resource-id (VEND_RESOURCE_ID) right, and is it your subscription?"
        if answer.status_code == HTTPStatus.FORBIDDEN:
            hint = "You need the role vend key operator on the function app: docs/deployment.md."
        if _may_pass(answer):
            hint = "Repeat the command later."
        return _json(answer, method, hint=hint)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        request = httpx.Request(method, f"{self._url}/{path}", params={"api-version": API_VERSION}, json=body)
        return ask(
            request,
            hint="Does your network reach Azure Resource Manager?",
            secret=bearer(self._token(), service=self._url),
            ca_file=self._ca_file,
        )


def _may_pass(answer: httpx.Response) -> bool:
    """Return whether the same request may succeed a little later."""
    if answer.status_code in REPEATED or answer.is_server_error:
        return True
    return answer.status_code == HTTPStatus.BAD_REQUEST and RESTARTING in answer.text


def _json(answer: httpx.Response, method: str, *, hint: str) -> Any:  # noqa: ANN401  # JSON
    if method == "DELETE" and answer.status_code == HTTPStatus.NOT_FOUND:
        return {}
    if answer.status_code not in GOOD:
        address = f"{answer.url.scheme}://{answer.url.netloc.decode()}"
        raise stop(f"{address} answers {answer.status_code}{_reason(answer)}.", hint)
    return answer.json() if answer.content else {}


def _reason(answer: httpx.Response) -> str:
    """Return the code and the message of an error of Azure Resource Manager, or ""."""
    try:
        error = answer.json()["error"]
        return f" {error['code']}: {str(error['message']).rstrip('.')}"
    except (ValueError, LookupError, TypeError):
        return ""


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
