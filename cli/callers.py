"""`./vend callers add`, `roll` and `revoke`: callers and their keys, in the document and among the keys of the host.

A key opens nothing until the document has its hash, and nothing any more once it has not. So a key is made before the
document has it, and deleted after; wherever a command breaks off, it can be repeated.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.acceptance import await_acceptance
from cli.callers_text import with_caller, with_key, with_last_key_alone, without_caller
from cli.documents import Config
from cli.entries import Profile, Tenants, entries_of, good_scopes, shown_entries
from cli.host_keys import ResourceId, slots_of
from cli.keys import LOCAL_APP, App
from cli.new_key import KeyFile, new_key
from cli.screen import GOOD, say, stop
from cli.session import NOTHING_YET, As, Change, Name, Session, open_session, unknown
from shared.core.documents.callers import CallersDocument
from shared.core.policy import EVERYBODY, Allow, Caller

NO_KEY = "0" * 64


def add(
    context: typer.Context,
    name: Name,
    allow: Annotated[
        list[str],
        typer.Option(
            "--allow",
            metavar="SCOPE",
            callback=good_scopes,
            help="What it may have, resource/.default; repeat for more.",
        ),
    ],
    *,
    profile: Profile = None,
    tenant: Tenants = None,
    key_file: KeyFile = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Add a caller: have its function key made, and write what it may have into the document.

    The key is printed once, alone on stdout; or written to --key-file; or, at a `make run`, to .run/NAME.key.

    Exit code 0: each worker seen goes by the new document, and the key opens the app. 1: that is not certain.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin, absent=NOTHING_YET)
    documents = session.documents
    known = documents.callers.callers
    if name in known:
        raise stop(
            f"{documents.callers_file} has a caller {name} already.", f"For another key: ./vend callers roll {name}"
        )
    _check_name(name, known)
    entries = entries_of(documents, allow, profile=profile, tenants=tuple(tenant or ()))
    session.check(_addition(name, NO_KEY, entries))
    held, keys = session.keys.digests(), documents.callers.owners
    if left := [slot for slot in slots_of(name) if slot in held and held[slot] not in keys]:
        raise stop(
            f"The host has a key {left[0]} that is no caller's in {documents.callers_file}.",
            f"If a command broke off: ./vend callers revoke {name} deletes it. Then repeat. Else choose another name.",
        )
    key = _Key(name, session, key_file)
    change = _addition(name, key.digest, entries)
    session.write(change)
    key.output.tell(f"Written: {name} may have {shown_entries(entries)}.")
    key.confirm(change)


def roll(
    context: typer.Context,
    name: Name,
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Remove the old key: the service uses the new one.")] = False,
    key_file: KeyFile = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Give a caller a second key; both are good until --finish removes the old one.

    The key is printed once, alone on stdout; or written to --key-file; or, at a `make run`, to .run/NAME.key.

    Exit code 0: each worker seen goes by the new document, and the key opens the app. 1: that is not certain.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    caller = session.documents.callers.callers.get(name)
    if caller is None or name == EVERYBODY:
        raise unknown(session.documents, name)
    if finish:
        _finish(session, caller)
        return
    if len(caller.key_sha256) > 1:
        raise stop(f"{name} has {len(caller.key_sha256)} keys already.", f"First: ./vend callers roll {name} --finish")
    session.check(_second_key(name, NO_KEY))
    key = _Key(name, session, key_file)
    change = _second_key(name, key.digest)
    session.write(change)
    key.output.tell(f"Written: {name} has a second key, and both are good.")
    key.confirm(change)
    key.output.tell(f"When the service uses the new one: ./vend callers roll {name} --finish")


def revoke(
    context: typer.Context,
    name: Name,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Take a caller and its keys away: first from the document, which alone decides, then from the host.

    Exit code 0: each worker seen goes by the new document. 1: that is not certain, and a worker may serve the caller.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    documents = session.documents
    is_known = _has(documents.callers, name)
    change = Change(
        edit=lambda text: without_caller(text, name) if is_known else text,
        is_in=lambda document: not _has(document, name),
        grants=False,
    )
    session.check(change)
    if is_known:
        session.write(change)
        say(f"Written: {name} is no caller any more.")
        if made := documents.key_file(name):
            made.unlink(missing_ok=True)
    swept = name != EVERYBODY and _sweep(session, name, gone=_keys_of(documents.callers, name))
    if not is_known and not swept:
        raise unknown(documents, name)
    session.confirm(change)


def _has(document: CallersDocument, name: str) -> bool:
    """Return whether a document has an entry of this name, be it one that the app refuses."""
    return name in document.callers or name in document.refused


def _keys_of(document: CallersDocument, name: str) -> tuple[str, ...]:
    return tuple(digest for digest, owner in document.owners.items() if owner == name)


def _addition(name: str, digest: str, entries: list[Allow]) -> Change:
    def is_in(document: CallersDocument) -> bool:
        caller = document.callers.get(name)
        return caller is not None and digest in caller.key_sha256 and set(entries) <= set(caller.allow)

    return Change(
        edit=lambda text: with_caller(text, name, digest=digest, allow=entries),
        is_in=is_in,
        grants=True,
    )


def _second_key(name: str, digest: str) -> Change:
    return Change(
        edit=lambda text: with_key(text, name, digest),
        is_in=lambda document: name in document.callers and digest in document.callers[name].key_sha256,
        grants=True,
    )


class _Key:
    """A new key of a caller: made by the host, and handed over before anything else can go wrong."""

    def __init__(self, name: str, session: Session, key_file: Path | None) -> None:
        documents = session.documents
        known, held = documents.callers.owners, session.keys.digests()
        slot = next((slot for slot in slots_of(name) if held.get(slot) not in known), None)
        if slot is None:
            raise stop(f"The host has keys {' and '.join(slots_of(name))} already, and callers use them.")
        self.output = new_key(documents, name, key_file)
        self._session, self._value = session, session.keys.make(slot)
        self.output.take(self._value)

    @property
    def digest(self) -> str:
        """What the document has of it."""
        return hashlib.sha256(self._value.encode()).hexdigest()

    def confirm(self, change: Change) -> None:
        """Wait until the change is in force and the key opens the app, and print that; else end with exit code 1."""
        self._session.confirm(change, tell=self.output.tell)
        unsure = await_acceptance(self._session.app, self._value, patience=self._session.patience)
        if unsure:
            raise stop(f"Whether the key works is not known. {unsure}")
        self.output.tell("The key works.", style=GOOD)


def _finish(session: Session, caller: Caller) -> None:
    name, old = caller.name, caller.key_sha256[:-1]
    change = Change(
        edit=lambda text: with_last_key_alone(text, name),
        is_in=lambda document: not document.owners.keys() & set(old),
        grants=False,
    )
    session.check(change)
    if old:
        session.write(change)
        say(f"Written: {name} has its new key alone.")
    if not _sweep(session, name, gone=old) and not old:
        raise stop(f"{name} has one key: there is nothing to finish.", f"For a new one: ./vend callers roll {name}")
    session.confirm(change)


def _sweep(session: Session, name: str, *, gone: tuple[str, ...]) -> bool:
    """Delete the keys that vend made for a caller and that no caller has any more; return whether there was one.

    A key that a command left behind when it broke off goes too, by its name. A key of another name stays.
    """
    left = session.read_again().callers.owners
    held = session.keys.digests()
    swept = [slot for slot in slots_of(name) if slot in held and held[slot] not in left]
    for slot in swept:
        session.keys.delete(slot)
        say(f"The host has no key {slot} any more.")
    for slot, digest in held.items():
        if digest in gone and digest not in left and slot not in swept:
            say(f"The host keeps its key {slot}, which vend did not make.", error=True)
    return bool(swept)


def _check_name(name: str, known: Mapping[str, Caller]) -> None:
    """Refuse a name under which the host keeps, or may come to keep, the key of another caller; it ignores case."""
    if name == EVERYBODY:
        raise stop('"*" has no key of its own.', "Add it to the document by hand; read docs/configuration.md first.")
    taken = {slot.lower(): owner for owner in known for slot in slots_of(owner)}
    for slot in slots_of(name):
        if owner := taken.get(slot.lower()):
            raise stop(f"The name {name} is too close to that of {owner}: the host would keep one key for both.")
