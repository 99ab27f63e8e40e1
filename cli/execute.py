"""`./vend exec` and `./vend env`: a program gets its tokens from vend by the stock SDKs' own managed-identity protocol.

The two variables are those of App Service, so they stand in place of whatever identity the process would have had.
Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import os
import shlex
from typing import Annotated

import typer

from cli.http import check_address
from cli.keys import LOCAL_APP, App, key_of
from cli.screen import say, stop

ELSEWHERE = (
    "IDENTITY_SERVER_THUMBPRINT",  # Service Fabric
    "IMDS_ENDPOINT",  # Azure Arc
    "MSI_ENDPOINT", "MSI_SECRET",  # Azure Machine Learning, Cloud Shell
    "MSAL_MANAGED_IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",  # another address for it
    "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS",  # another identity or credential
)  # fmt: skip
"""Variables by which an SDK would choose another source of tokens, or ask this one for another identity."""

Caller = Annotated[str, typer.Argument(metavar="CALLER", help="Whose function key is used.")]


def execute(
    caller: Caller,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD", help="The program and its arguments.")],
    app: App = LOCAL_APP,
) -> None:
    """Run a program whose Azure SDK gets its tokens from vend, and end as it does.

    ManagedIdentityCredential, and DefaultAzureCredential, find vend by two environment variables: no change in the
    program. Only /api/msi/token is used, which `app_checked_routes = true` opens.
    """
    given = _given(caller, app=app)
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        os.execvpe(command[0], command, kept | given)  # noqa: S606  # what the operator asked for, and no shell
    except OSError as error:
        raise stop(f"{command[0]} cannot be run ({type(error).__name__}).") from None


def environment(caller: Caller, app: App = LOCAL_APP) -> None:
    """Print what `exec` sets, as lines for sh: eval "$(./vend env CALLER)"."""
    given = _given(caller, app=app)
    say("These lines hold the key: keep them out of logs and of the history of your shell.", error=True)
    typer.echo(f"unset {' '.join(ELSEWHERE)}")
    for name, value in given.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _given(caller: str, *, app: str) -> dict[str, str]:
    address = check_address(app, at="--app")
    if os.environ.get("IDENTITY_ENDPOINT"):
        say("IDENTITY_ENDPOINT is set: this process does not use its own identity.", error=True)
    return {
        "IDENTITY_ENDPOINT": f"{address}/api/msi/token",
        "IDENTITY_HEADER": key_of(caller, app=address),
        # HTTP libraries would add an Authorization header of a .netrc entry for this host.
        "NETRC": os.devnull,
    }
