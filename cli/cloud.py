"""`./vend cloud`: the local cloud for the tests of another project, for as long as they run."""

import os
import sys
from typing import Annotated

import typer

from cli.documents import ROOT

START = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('emulator', run_name='__main__')"
"""Starts the local cloud, and leaves the environment of the program as it is."""


def cloud(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD", help="The program and its arguments.")],
) -> None:
    """Run a program beside a local cloud of its own: Entra, Key Vault, Graph, Blob Storage and a managed identity.

    The program finds them by environment variables: those of the Azure SDKs, such as AZURE_AUTHORITY_HOST and
    AZURE_CLIENT_SECRET, and VEND_CLOUD_VAULT and the like. docs/local.md lists them.

    The cloud takes free ports and ends with the program. Nothing leaves this machine.

    Exit code: that of the program.
    """
    words = [sys.executable, "-P", "-c", START, str(ROOT), "--cloud", "--", *command]
    os.execv(sys.executable, words)  # noqa: S606  # our own program, and no shell
