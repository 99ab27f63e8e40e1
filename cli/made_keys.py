"""New keys of callers: made by the host side by side, and handed over before anything else can go wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import typer

from cli.acceptance import await_acceptance
from cli.document_store import WriteUnknown
from cli.host_keys import slots_of
from cli.keys import key_digest
from cli.lost_keys import tell_lost
from cli.new_key import NewKey, outputs_of
from cli.screen import GOOD, complain, counted, say, stop
from cli.session import Change, Session


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that was handed over.

    Attributes:
        slot: its name at the host.
        value: the key.
        output: what took it.
    """

    slot: str
    value: str = field(repr=False)
    output: NewKey


class MadeKeys:
    """The new keys of one command, by the names of their callers.

    Args:
        session: of the command.
        keys: those that were made.
        missing: the callers without a key; the reason is printed.
    """

    def __init__(self, session: Session, keys: Mapping[str, _Key], missing: list[str]) -> None:
        self._keys = keys
        self.missing = missing
        self._session = session

    @classmethod
    def make(
        cls,
        session: Session,
        names: list[str],
        *,
        key_file: Path | None = None,
        key_folder: Path | None,
        repeats: bool = False,
    ) -> Self:
        """Make a key for each at the host, and hand the keys over; end with exit code 1 if none was made.

        Args:
            session: of the command.
            names: of the callers.
            key_file: the new file for one key.
            key_folder: where each key gets a new file of its own.
            repeats: whether a file gives way whose key no caller has: a command that broke off has left it.
        """
        held, now = session.keys_now()
        slots: dict[str, str] = {}
        for name in names:
            # A free name first: a key that no caller has yet may be of a command that is under way.
            free = [slot for slot in slots_of(name) if held.get(slot) not in now.owners]
            slot = next((slot for slot in free if slot not in held), next(iter(free), None))
            if slot is None:
                raise stop(f"The host has keys {' and '.join(slots_of(name))} already, and callers use them.")
            slots[name] = slot
        owned = now.owners if repeats else None
        outputs = outputs_of(session.documents, names, key_file=key_file, key_folder=key_folder, owned=owned)
        values = session.keys.make(list(slots.values()))
        keys, lost = dict[str, _Key](), list[str]()
        for name, slot in slots.items():
            if slot not in values:
                continue
            try:
                outputs[name].take(values[slot])
            except typer.Exit:  # the reason is printed
                lost.append(slot)
            else:
                keys[name] = _Key(slot, values[slot], outputs[name])
        if lost:
            _delete(session, lost)
        if not keys:
            raise typer.Exit(1)
        return cls(session, keys, [name for name in names if name not in keys])

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each key for the document, by the name of its caller."""
        return {name: key_digest(key.value) for name, key in self._keys.items()}

    def tell(self, line: str, *, style: str = "") -> None:
        """Print a line about them, to stderr if stdout is for the keys."""
        say(line, style=style, error=any(key.output.is_printed for key in self._keys.values()))

    def write(self, change: Change) -> None:
        """Write the document; where it stays as it was, the keys go again, and what was lost by them is told."""
        try:
            self._session.write(change)
        except WriteUnknown:
            raise
        except typer.Exit:
            if self.take_back():
                tell_lost(self._session, list(self._keys))
            raise

    def take_back(self) -> bool:
        """Delete those that no caller has in the document as it is now; what was printed of them opens nothing.

        Returns:
            Whether it is known which those are.
        """
        slots = [key.slot for key in self._keys.values()]
        try:
            held, now = self._session.keys_now()
        except typer.Exit:  # the reason is printed
            say(f"The host keeps {', '.join(slots)}: whether a caller has it is not known.", error=True)
            return False
        if owned := [slot for slot in slots if held.get(slot) in now.owners]:
            say(f"The host keeps {', '.join(owned)}, because a caller has it.", error=True)
        for key in self._keys.values():
            if key.slot not in owned:
                key.output.take_back()
        if left := [slot for slot in slots if slot not in owned]:
            _delete(self._session, left)
        return True

    def confirm(self, change: Change) -> None:
        """Wait until the change is in force and the keys open the app, and print that; else end with exit code 1."""
        session = self._session
        session.confirm(change, tell=self.tell)
        lost = tell_lost(session, list(self._keys))
        values = {name: key.value for name, key in self._keys.items() if name not in lost}
        unsure = await_acceptance(session.app, values, patience=session.patience)
        for name, reason in unsure.items():
            whose = "the key" if len(values) == 1 else f"the key of {name}"
            complain(f"Whether {whose} works is not known. {reason}")
        works = len(values) - len(unsure)
        if works:
            self.tell(
                "The key works." if len(values) == 1 else f"{counted(works, 'key')} of {len(values)} work.", style=GOOD
            )
        if unsure or lost:
            raise typer.Exit(1)


def _delete(session: Session, slots: list[str]) -> None:
    """Delete keys that no document has; print which are gone, and which may stay."""
    gone = session.keys.delete(slots)
    if gone:
        say(f"Deleted again, because no caller has it: {', '.join(sorted(gone))}.", error=True)
    if left := [slot for slot in slots if slot not in gone]:
        say(f"The host keeps, although no caller has it: {', '.join(left)}.", error=True)
