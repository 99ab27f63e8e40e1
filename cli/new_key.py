"""Where a new key goes: alone to stdout, into a new file, or beside the others of a `make run`. It is shown once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.documents import Documents, shown
from cli.screen import say, stop

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="PATH", help="Write the key to this new file, for its owner alone to read."),
]


class NewKey:
    """Takes the key, and leaves stdout to it where it is printed."""

    def __init__(self, place: Path | None, *, replaces: bool = False) -> None:
        self._place = place
        self._replaces = replaces

    def take(self, key: str) -> None:
        """Print the key or write it down; end with exit code 1 where it cannot be written."""
        if self._place is None:
            typer.echo(key)
            return
        try:
            if self._replaces:
                self._place.unlink(missing_ok=True)
            with os.fdopen(os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(key)
        except OSError as error:
            raise stop(
                f"{shown(self._place)} cannot be written ({type(error).__name__}), and nobody has the key.",
                "It opens nothing; repeat the command.",
            ) from None
        self.tell(f"The key is in {shown(self._place)}.")

    def tell(self, line: str, *, style: str = "") -> None:
        """Say something about it, to stderr where stdout is the key's."""
        say(line, style=style, error=self._place is None)


def new_key(documents: Documents, name: str, key_file: Path | None) -> NewKey:
    """Find where the key of a caller is to go, or end with exit code 1."""
    if key_file is None:
        return NewKey(documents.key_file(name), replaces=True)
    if key_file.exists():
        raise stop(f"{key_file} is there already.", "Name a new file.")
    return NewKey(key_file)
