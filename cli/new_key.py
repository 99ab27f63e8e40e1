"""Where a new key goes: to stdout, into a new file, or beside the others of a `make run`. It is shown once."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from cli.documents import Documents, shown
from cli.keys import key_digest
from cli.screen import say, stop
from shared.adapters.file import read_file

LONGEST_KEY = 512
_KEY = re.compile(r"[!-~]{16,512}\Z")

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="Write the key to this new file, for its owner alone to read."),
]
KeyFolder = Annotated[
    Path | None,
    typer.Option(
        "--key-folder",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Write each key to the new file NAME.key in this folder, for its owner alone to read.",
    ),
]


class NewKey:
    """Takes the key, and leaves stdout to it where it is printed.

    Args:
        place: the file for it; None for stdout.
        replaces: whether a file that is there gives way.
        label: stands before a key that is printed, so that several can be told apart.
    """

    def __init__(self, place: Path | None, *, replaces: bool = False, label: str = "") -> None:
        self._place = place
        self._replaces = replaces
        self._label = label
        self._before: str | None = None

    @property
    def is_printed(self) -> bool:
        """Whether stdout is the key's."""
        return self._place is None

    def take(self, key: str) -> None:
        """Print the key or write it down; end with exit code 1 where it cannot be written."""
        if self._place is None:
            typer.echo(f"{self._label}{key}")
            return
        try:
            if self._replaces and self._place.exists():
                self._before = self._place.read_text()
                self._place.unlink()
            self._write(key)
        except OSError as error:
            raise stop(
                f"{shown(self._place)} cannot be written ({type(error).__name__}), and nobody has the key.",
                "It opens nothing; repeat the command.",
            ) from None
        say(f"The key is in {shown(self._place)}.")

    def take_back(self) -> None:
        """Put back what was there before a key that opens nothing; what was printed stays."""
        if self._place:
            self._place.unlink(missing_ok=True)
            if self._before is not None:
                self._write(self._before)

    def _write(self, key: str) -> None:
        assert self._place
        with os.fdopen(os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)


def outputs_of(
    documents: Documents,
    names: list[str],
    *,
    key_file: Path | None,
    key_folder: Path | None,
    owned: Collection[str] | None = None,
) -> dict[str, NewKey]:
    """Find where the key of each caller is to go, or end with exit code 1.

    Args:
        documents: both.
        names: of the callers.
        key_file: the new file for one key.
        key_folder: where each key gets a new file of its own.
        owned: the SHA-256 of each key that a caller has: a file with another key gives way. None: no file does.
    """
    if key_file and (key_folder or len(names) > 1):
        raise typer.BadParameter("takes one key; several go to --key-folder", param_hint="--key-file")
    if key_file is None and key_folder is None:
        labels = {name: f"{name} " if len(names) > 1 else "" for name in names}
        return {name: NewKey(documents.key_file(name), replaces=True, label=labels[name]) for name in names}
    places = {name: key_file or (key_folder or Path()) / f"{name}.key" for name in names}
    for place in places.values():
        if place.exists() and (owned is None or not _is_left(place, owned)):
            raise stop(f"{place} is there already.", "Name a new file.")
    return {name: NewKey(place, replaces=owned is not None) for name, place in places.items()}


def _is_left(place: Path, owned: Collection[str]) -> bool:
    """Return whether a file holds a key that no caller has, or nothing at all."""
    try:
        found = read_file(place, most=LONGEST_KEY)
        return not found or (_KEY.match(found.decode()) is not None and key_digest(found.decode()) not in owned)
    except (OSError, ValueError):
        return False
