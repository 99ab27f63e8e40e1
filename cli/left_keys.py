"""Keys that callers lose: those that vend made are deleted at the host, and the others stay there.

A key that stays at the host opens nothing, unless the document has `[callers."*"]`: then it gets what any other key of
the host gets. So that is told before the document is written, and a command that leaves such a key ends with exit
code 1.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from cli.document_store import WriteUnknown
from cli.entries import shown_entries
from cli.host_keys import slots_of
from cli.screen import complain, say, stop
from cli.session import Session
from shared.core.documents.callers import CallersDocument
from shared.core.policy import EVERYBODY

Yes = Annotated[
    bool,
    typer.Option("--yes", help='Go on even if a key then gets what [callers."*"] may have; else nothing is done.'),
]

type Lost = Mapping[str, Collection[str]]
"""The SHA-256 of the keys that each caller loses."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The fate of keys that callers have lost; those that the host keeps are printed.

    Attributes:
        names: the callers of which the host had a key that vend made.
        failed: whether the host may keep such a key.
        kept: whether the host keeps a key because vend did not make it.
    """

    names: frozenset[str]
    failed: bool = False
    kept: bool = False

    def check(self) -> None:
        """End with exit code 1 where the host keeps a key that a caller has lost, or may keep one."""
        if self.kept or self.failed:
            raise typer.Exit(1)


def check_everybody(session: Session, lost: Lost, after: CallersDocument, *, yes: bool) -> None:
    """End with exit code 1 where keys that callers lose would fall under `"*"`, unless the operator has said yes.

    Where the host cannot be asked, the command goes on: the callers must go. It ends with exit code 1 all the same.

    Args:
        session: of the command.
        lost: the keys.
        after: the document as it is to be written.
        yes: what the operator has said.
    """
    if EVERYBODY not in after.callers:
        return
    try:
        held = session.keys.digests()
    except typer.Exit:  # the reason is printed
        held = {}
    reasons = []
    if kept := _foreign(held, lost, after):
        reasons.append(f"The host has {', '.join(kept)}, which vend did not make and does not delete.")
    if after.is_open and not session.documents.callers.is_open:
        reasons.append("The keys of an entry cannot be read, so nobody knows whether the host has them.")
    if not reasons:
        return
    for reason in reasons:
        say(reason, error=True)
    say(f"Without their entry such keys get {_given_to_others(after)}.", error=True)
    if not yes:
        raise stop("Nothing was written.", "Delete such a key at the host first, or go on all the same: --yes")


def sweep(session: Session, lost: Lost, after: CallersDocument) -> Swept:
    """Delete the keys that vend made for callers and that no caller has any more.

    A key that a command left behind when it broke off goes too, by its name. A key of another name stays.

    Args:
        session: of the command.
        lost: the keys.
        after: the document as it was written.
    """
    try:
        held, now = session.keys_now()
        slots = {
            slot: name for name in lost for slot in slots_of(name) if slot in held and held[slot] not in now.owners
        }
        deleted = session.keys.delete(list(slots)) if slots else frozenset()
    except typer.Exit:  # the reason is printed
        _tell_left(after)
        return Swept(frozenset(), failed=True)
    if swept := [slot for slot in slots if slot in deleted]:
        say(f"The host has no key {', '.join(swept)} any more.")
    foreign = _foreign(held, lost, now)
    if foreign:
        complain(
            f"The host keeps its key {', '.join(foreign)}, which vend did not make. It gets {_given_to_others(now)}.",
            "Delete it at the host. No command of vend deletes it.",
        )
    if failed := len(deleted) < len(slots):
        _tell_left(now)
    return Swept(frozenset(slots.values()), failed=failed, kept=bool(foreign))


@contextmanager
def kept_keys_told(session: Session, lost: Lost, after: CallersDocument) -> Iterator[None]:
    """Name the keys that stay at the host where nobody knows whether the document is written.

    A repeat finds no entry that has them, so that it cannot tell of them any more.

    Args:
        session: of the command.
        lost: the keys.
        after: the document as it was to be written.
    """
    try:
        yield
    except WriteUnknown:
        held: Mapping[str, str] = {}
        with suppress(typer.Exit):  # the reason is printed
            held = session.keys.digests()
        if foreign := _foreign(held, lost, after):
            complain(
                f"The host keeps its key {', '.join(foreign)}, which vend did not make. "
                f"Without its entry it gets {_given_to_others(after)}.",
                "Delete it at the host now: a repeat of this command does not know it any more.",
            )
        raise


def _tell_left(document: CallersDocument) -> None:
    is_told = EVERYBODY in document.callers or not document.is_open
    gets = f" It gets {_given_to_others(document)}." if is_told else ""
    complain(f"The host may keep a key that no caller has.{gets}", "Repeat the command to delete it.")


def _foreign(held: Mapping[str, str], lost: Lost, document: CallersDocument) -> list[str]:
    """Return the names of the lost keys that the host has, that no entry has, and that vend did not make."""
    digests = {digest for each in lost.values() for digest in each} - document.owners.keys()
    made = {slot for name in lost for slot in slots_of(name)}
    return [slot for slot, digest in held.items() if digest in digests and slot not in made]


def _given_to_others(document: CallersDocument) -> str:
    """Return what a document gives to a key of the host that no entry has."""
    everybody = document.callers.get(EVERYBODY)
    given = f'what "*" may have: {shown_entries(everybody.allow) or "nothing"}' if everybody else "nothing"
    if document.is_open:
        return given
    return (
        "nothing while the keys of an entry cannot be read; "
        f"then what that entry may have, if it is its key, else {given}"
    )
