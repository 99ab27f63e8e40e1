"""`./vend exec` and `./vend env`: a program gets its tokens from vend by a protocol that the stock SDKs speak.

With a function key it is that of managed identities, by the two variables of App Service. They stand in place of
whatever identity the process would have had. With an identity token in a file it is that of workload identity, by four
variables that make vend the authority, and there is no secret in the environment.

Sources: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference,
https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.http import check_address
from cli.keys import LOCAL_APP, App, key_of
from cli.names import good_names, good_tenants
from cli.screen import misuse, say, stop
from shared.core.names import is_guid

ELSEWHERE = (
    "IDENTITY_SERVER_THUMBPRINT",  # Service Fabric
    "IMDS_ENDPOINT",  # Azure Arc
    "MSI_ENDPOINT", "MSI_SECRET",  # Azure Machine Learning, Cloud Shell
    "MSAL_MANAGED_IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",  # another address for it
    "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS",  # another identity or credential
)  # fmt: skip
"""Variables by which an SDK would choose another source of tokens, or ask this one for another identity."""

AHEAD = (
    "IDENTITY_ENDPOINT", "IDENTITY_HEADER",  # App Service
    "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME", "AZURE_PASSWORD",
    "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_KUBERNETES_TOKEN_PROXY",  # another address for Entra
)  # fmt: skip
"""Further ones, by which an SDK would prove itself otherwise than by a token in a file."""

Caller = Annotated[
    str,
    typer.Argument(metavar="CALLER", callback=good_names, help="Whose function key, or identity token, is used."),
]
IdentityFile = Annotated[
    Path | None,
    typer.Option(
        "--identity-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The file with the identity token of CALLER, which is used in place of a function key.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="GUID",
        callback=good_tenants,
        help="The tenant of the tokens, with --identity-file; else AZURE_TENANT_ID.",
    ),
]


def execute(
    caller: Caller,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD", help="The program and its arguments.")],
    *,
    identity_file: IdentityFile = None,
    tenant: Tenant = None,
    app: App = LOCAL_APP,
) -> None:
    """Run a program whose Azure SDK gets its tokens from vend, and end as it does.

    ManagedIdentityCredential, and DefaultAzureCredential, find vend by two environment variables: no change in the
    program. /api/msi/token is used. With --identity-file it is WorkloadIdentityCredential, by four variables and no
    key. `app_checked_routes = true` opens both routes.
    """
    given = _given(caller, identity_file, tenant, app=app)
    dropped = _dropped(identity_file)
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    try:
        os.execvpe(command[0], command, {**kept, **given})  # noqa: S606  # what the operator asked for, and no shell
    except OSError as error:
        raise stop(f"{command[0]} cannot be run ({type(error).__name__}).") from None


def environment(
    caller: Caller, *, identity_file: IdentityFile = None, tenant: Tenant = None, app: App = LOCAL_APP
) -> None:
    """Print what `exec` sets, as lines for sh: eval "$(./vend env CALLER)"."""
    given = _given(caller, identity_file, tenant, app=app)
    if identity_file is None:
        say("These lines hold the key: keep them out of logs and of the history of your shell.", error=True)
    typer.echo(f"unset {' '.join(name for name in _dropped(identity_file) if name not in given)}")
    for name, value in given.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _dropped(identity_file: Path | None) -> tuple[str, ...]:
    return ELSEWHERE if identity_file is None else (*ELSEWHERE, *AHEAD)


def _given(caller: str, identity_file: Path | None, tenant: str | None, *, app: str) -> Mapping[str, str]:
    """Return the variables to set."""
    address = check_address(app, at="--app")
    if identity_file is None:
        found = {"IDENTITY_ENDPOINT": f"{address}/api/msi/token", "IDENTITY_HEADER": key_of(caller, app=address)}
    else:
        found = _workload_identity(caller, identity_file, tenant, address)
    if os.environ.get("IDENTITY_ENDPOINT"):
        say("IDENTITY_ENDPOINT is set: this process does not use its own identity.", error=True)
    # HTTP libraries would add an Authorization header of a .netrc entry for this host.
    return {**found, "NETRC": os.devnull}


def _workload_identity(caller: str, identity_file: Path, tenant: str | None, address: str) -> dict[str, str]:
    if not address.startswith("https://"):
        raise misuse(
            "--app", "clients of Entra speak to https alone; docs/local.md has the https address of `make run`"
        )
    wanted = tenant or os.environ.get("AZURE_TENANT_ID", "")
    if not is_guid(wanted):
        raise misuse("--tenant", "is needed beside --identity-file, or AZURE_TENANT_ID, as a GUID")
    return {
        "AZURE_AUTHORITY_HOST": f"{address}/api/entra",
        "AZURE_TENANT_ID": wanted,
        "AZURE_CLIENT_ID": caller,
        "AZURE_FEDERATED_TOKEN_FILE": str(identity_file.absolute()),
    }
