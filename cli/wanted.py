"""A wanted callers document: callers.toml with names in place of hashes, which holds no secret and lies in git.

Its words become those of the callers document, comments and order too; the hashes of the keys are added to them. An
entry without `identity` gets a key, and so does one with `key = true`. What else an entry has stands as it is.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.callers_text import CannotEdit, with_generation, with_new_keys
from cli.documents import Documents
from cli.host_keys import slots_of
from cli.keys import key_digest
from cli.screen import misuse, say
from shared.adapters.file import read_file
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.documents.content import DOCUMENT_BYTES
from shared.core.documents.table import dotted
from shared.core.documents.toml import DocumentError
from shared.core.policy import EVERYBODY

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", exists=True, dir_okay=False, help="The wanted callers: callers.toml without key_sha256."
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted callers document, without the hashes of the keys.

    Args:
        text: of the file.
        entries: the tables of the callers as they stand in it.
    """

    text: str
    entries: Mapping[str, Mapping[str, Any]]

    @property
    def keyed(self) -> list[str]:
        """Names of the callers that are to have a key."""
        return [name for name, entry in self.entries.items() if name != EVERYBODY and _has_key(entry)]

    def document(self, keys: Mapping[str, Sequence[str]], *, generation: int) -> str:
        """Return the text of the callers document.

        Args:
            keys: the hashes of the keys of each caller that is to have one.
            generation: of the document.

        Raises:
            CannotEdit: the file is written in a way that only a person can edit.
        """
        text = self.text
        for name, entry in self.entries.items():
            text = with_new_keys(text, name, keys.get(name, ()), without="key" if "key" in entry else None)
        return with_generation(text, generation)


def read_wanted(file: Path, documents: Documents) -> Wanted:
    """Read a wanted document, or print every mistake and end with exit code 2."""
    try:
        text = read_file(file, most=DOCUMENT_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
        table = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise misuse("FILE", f"{file} cannot be read as TOML ({type(error).__name__})") from None
    entries = table.get("callers", {})
    if not isinstance(entries, dict):
        raise misuse("FILE", "callers must be a table")
    wanted, mistakes = Wanted(text, entries), _mistakes(table, entries)
    if not mistakes:
        try:
            mistakes = list(_parsed(wanted, documents).mistakes)
        except CannotEdit:
            mistakes = ["each caller must have a table of its own, such as [callers.billing]"]
        except DocumentError as error:
            mistakes = error.mistakes
    if mistakes:
        for mistake in mistakes:
            say(mistake, error=True)
        raise misuse("FILE", f"{file} is no wanted callers document")
    return wanted


def _parsed(wanted: Wanted, documents: Documents) -> CallersDocument:
    """Read it as the app would, with a hash that stands for each key."""
    text = wanted.document({name: [key_digest(name)] for name in wanted.keyed}, generation=1)
    settings = documents.settings
    return parse_callers(text.encode(), settings.offers, name="FILE", issuers=settings.tenants_of_issuers)


def _mistakes(table: Mapping[str, Any], entries: Mapping[str, Any]) -> list[str]:
    """List what only a wanted document can have wrong."""
    found = []
    if "generation" in table:
        found.append("generation: is not of a wanted document; ./vend callers purge raises it")
    for name, entry in entries.items():
        at = dotted("callers", name)
        if not isinstance(entry, dict):
            found.append(f"{at}: must be a table")
            continue
        if "key_sha256" in entry:
            found.append(f"{at}.key_sha256: is not of a wanted document, which has no hashes")
        if "key" in entry and (name == EVERYBODY or not isinstance(entry["key"], bool)):
            found.append(f"{at}.key: " + ('"*" has no key' if name == EVERYBODY else "must be true or false"))
    keyed = [
        name for name, entry in entries.items() if name != EVERYBODY and isinstance(entry, dict) and _has_key(entry)
    ]
    return found + _too_close(keyed)


def _too_close(names: Sequence[str]) -> list[str]:
    """List the names under which the host would keep one key for two callers; it ignores case."""
    taken: dict[str, str] = {}
    clashes = {
        name: owner
        for name in names
        for slot in slots_of(name)
        if (owner := taken.setdefault(slot.lower(), name)) != name
    }
    return [
        f"{dotted('callers', name)}: is too close to {owner}: the host would keep one key for both"
        for name, owner in clashes.items()
    ]


def _has_key(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("key", not entry.get("identity")))
