"""The host-scoped function keys of one app: of the local host, or of an app in Azure.

The keys of NAME are called vend-NAME and vend-NAME-2, in turn. A command makes and deletes no key of another name.
A value is handed over when it is made. Of the keys that are listed, a command keeps the SHA-256 alone, and in memory
the value of one that opens the readiness of the app.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

import httpx
import typer

from cli.documents import Documents
from cli.http import ask, function_key, is_loopback, json_object
from cli.keys import key_digest
from cli.operator_login import operator_token
from cli.patience import Patience
from cli.resource_manager import AzureApp
from cli.screen import misuse, stop
from shared.adapters.file import read_file
from shared.core.documents.content import DOCUMENT_BYTES

ELSE = (
    "Is it the host of the same `make run`? A host whose keys have just changed knows them after a minute: repeat then."
)
GOOD = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}
RESOURCE_ID = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.()-]{1,90}/providers/Microsoft\.Web/sites/[A-Za-z0-9-]{2,60}\Z",
    re.IGNORECASE | re.ASCII,
)


def _good_resource_id(option: typer.CallbackParam, value: str | None) -> str | None:
    """Return the id of a function app; end with exit code 2 where it is none."""
    if value is not None and not RESOURCE_ID.match(value):
        raise misuse(option, "must be /subscriptions/.../providers/Microsoft.Web/sites/NAME")
    return value


ResourceId = Annotated[
    str | None,
    typer.Option(
        "--resource-id",
        metavar="ID",
        envvar="VEND_RESOURCE_ID",
        callback=_good_resource_id,
        help="The function app in Azure, as `azd env get-values` names it. Without it: the host of `make run`.",
    ),
]


class HostKeys(Protocol):
    """The host-scoped function keys of one app.

    What fails is printed. `digests` and `opening_key` then end with exit code 1; `make` and `delete` do what they can.
    """

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""

    def opening_key(self, *, patient: bool) -> str:
        """Return the value of a key that opens a route of function level.

        Args:
            patient: whether a failure that may pass is repeated.
        """

    def make(self, names: Sequence[str]) -> Mapping[str, str]:
        """Make keys, each in place of the key of its name; return the values of those that were made."""

    def delete(self, names: Sequence[str]) -> frozenset[str]:
        """Delete keys, and return the names of those that are gone; one that is not there is no failure."""


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
            "Name both: --config FILE and --app URL, or VEND_CONFIG and VEND_URL.",
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
            self._master = str(json.loads(read_file(made, most=DOCUMENT_BYTES))["master"])
        except (OSError, ValueError, LookupError):
            raise stop(f"{made} cannot be read", "Is `make run` running?") from None

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        match self._ask("GET", ""):
            case {"keys": list(keys)}:
                return {key["name"]: key_digest(key["value"]) for key in keys}
        raise self._strange()

    def opening_key(self, *, patient: bool) -> str:  # noqa: ARG002  # a host of this machine is there or not
        """Return the master key, which opens every route of this host."""
        return self._master

    def make(self, names: Sequence[str]) -> Mapping[str, str]:
        """Make keys, each in place of the key of its name; return the values of those that were made."""
        made: dict[str, str] = {}
        with suppress(typer.Exit):  # the reason is printed
            for name in names:
                match self._ask("POST", name):
                    case {"value": str(value)}:
                        made[name] = value
                    case _:
                        raise self._strange()
        return made

    def delete(self, names: Sequence[str]) -> frozenset[str]:
        """Delete keys, and return the names of those that are gone; one that is not there is no failure."""
        gone: set[str] = set()
        with suppress(typer.Exit):  # the reason is printed
            for name in names:
                self._ask("DELETE", name)
                gone.add(name)
        return frozenset(gone)

    def _ask(self, method: str, name: str) -> Mapping[str, Any]:
        request = httpx.Request(method, f"{self._url}/{quote(name, safe='')}".rstrip("/"))
        answer = ask(request, hint="Is `make run` running?", secret=function_key(self._master, app=self._app))
        if answer.status_code not in GOOD and (method, answer.status_code) != ("DELETE", HTTPStatus.NOT_FOUND):
            raise stop(f"{self._app} answers {answer.status_code}.", ELSE)
        return json_object(answer.content)

    def _strange(self) -> typer.Exit:
        return stop(f"{self._app} answers, but its answer is not that of a Functions host.", ELSE)
