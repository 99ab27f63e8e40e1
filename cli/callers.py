"""`./vend callers add`, `roll` and `revoke`: callers and their keys, in the document and among the keys of the host.

A key opens nothing until the document has its hash, and nothing any more once it has not. So a key is made before the
document has it, and deleted after; wherever a command breaks off, it can be repeated. Several callers share one write
of the document and one wait. A caller whose key could not be made is left out, and the command ends with exit code 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import reduce
from typing import Annotated

import typer

from cli.callers_text import names_of, with_caller, with_keys, without_caller
from cli.documents import Config, unknown
from cli.entries import Profile, Tenants, entries_of, shown_entries
from cli.host_keys import ResourceId, slots_of
from cli.keys import LOCAL_APP, App, key_digest
from cli.left_keys import Yes, check_everybody, kept_keys_told, sweep
from cli.made_keys import MadeKeys
from cli.moment import FORMS, moment
from cli.names import SCOPE, good_scopes
from cli.new_key import KeyFile, KeyFolder
from cli.patience import patience_of
from cli.screen import complain, say, stop
from cli.session import NOTHING_YET, PUT_BACK, As, Change, Names, Session, open_session
from shared.core.documents.callers import CallersDocument
from shared.core.policy import EVERYBODY, Allow


def add(  # noqa: PLR0913  # typer reads the options from the signature
    context: typer.Context,
    names: Names,
    allow: Annotated[
        list[str],
        typer.Option(
            "--allow",
            metavar=SCOPE,
            callback=good_scopes,
            help="What they may have, resource/.default; repeat for more.",
        ),
    ],
    *,
    not_after: Annotated[
        str | None,
        typer.Option("--not-after", metavar="DATE", help=f"When the entry ends: {FORMS}."),
    ] = None,
    profile: Profile = None,
    tenant: Tenants = None,
    key_file: KeyFile = None,
    key_folder: KeyFolder = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Add callers: have their function keys made, and write what they may have into the document.

    A key is printed once, alone on stdout, behind the name where there are several; or written to --key-file or
    --key-folder; or, at a `make run`, to .run/NAME.key.

    Exit code 0: each worker seen goes by the new document, and the keys open the app. 1: that is not certain, or a
    caller was not added.
    """
    names = list(dict.fromkeys(names))
    end = _end(not_after, now=patience_of(context).now())
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin, absent=NOTHING_YET)
    documents = session.documents
    known = [*documents.callers.callers, *documents.callers.refused]
    if taken := [name for name in names if name in known]:
        raise stop(
            f"{documents.callers_file} has a caller {', '.join(taken)} already.",
            f"For another key: ./vend callers roll {' '.join(taken)}",
        )
    for index, name in enumerate(names):
        _check_name(name, [*known, *names[:index]])
    entries = entries_of(documents, allow, profile=profile, tenants=tuple(tenant or ()))
    session.check(_addition(_no_keys(names), entries, end))
    held, now = session.keys_now()
    slots = {slot: name for name in names for slot in slots_of(name)}
    if left := [slot for slot in slots if slot in held and held[slot] not in now.owners]:
        if documents.version.content is None:
            raise stop(
                f"{documents.callers_file} is not there, and the host has a key {', '.join(left)}.",
                f"{PUT_BACK} If there never was one: choose another name.",
            )
        raise stop(
            f"The host has a key {', '.join(left)} that is no caller's in {documents.callers_file}.",
            f"If a command broke off: ./vend callers revoke {' '.join(dict.fromkeys(slots[slot] for slot in left))} "
            "deletes it. Then repeat. Else choose another name.",
        )
    keys = MadeKeys.make(session, names, key_file=key_file, key_folder=key_folder)
    with _told(keys, "Not added"):
        change = _addition(keys.digests, entries, end)
        keys.write(change)
        until = f" until {end:%Y-%m-%d %H:%M %Z}" if end else ""
        keys.tell(f"Written: {', '.join(keys.digests)} may have {shown_entries(entries)}{until}.")
        keys.confirm(change)


def roll(
    context: typer.Context,
    names: Names,
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Remove the old key: the service uses the new one.")] = False,
    yes: Yes = False,
    key_file: KeyFile = None,
    key_folder: KeyFolder = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Add a second key to callers; both are good until --finish removes the old one.

    A key is printed once, alone on stdout, behind the name where there are several; or written to --key-file or
    --key-folder; or, at a `make run`, to .run/NAME.key.

    Exit code 0: each worker seen goes by the new document, and the keys open the app. 1: that is not certain, or a
    caller has no new key.
    """
    names = list(dict.fromkeys(names))
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    callers = session.documents.callers.callers
    if absent := [name for name in names if name not in callers or name == EVERYBODY]:
        raise unknown(session.documents, *absent)
    held = {name: callers[name].key_sha256 for name in names}
    if finish:
        _finish(session, held, yes=yes)
        return
    for name, keys_now in held.items():
        if len(keys_now) > 1:
            raise stop(f"{name} has {len(keys_now)} keys already.", f"First: ./vend callers roll {name} --finish")
    session.check(_second_keys(_no_keys(names), held))
    keys = MadeKeys.make(session, names, key_file=key_file, key_folder=key_folder)
    with _told(keys, "Not rolled"):
        change = _second_keys(keys.digests, held)
        keys.write(change)
        rolled = list(keys.digests)
        several = len(rolled) > 1
        keys.tell(f"Written: {', '.join(rolled)} {'have' if several else 'has'} a second key, and both are good.")
        keys.confirm(change)
        services = "the services use the new ones" if several else "the service uses the new one"
        keys.tell(f"When {services}: ./vend callers roll {' '.join(rolled)} --finish")


def revoke(
    context: typer.Context,
    names: Names,
    *,
    yes: Yes = False,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Take callers and their keys away: first from the document, which alone decides, then from the host.

    Exit code 0: each worker seen goes by the new document, and the host has none of their keys. 1: that is not
    certain, and a worker may serve them, or the host keeps a key that vend did not make.
    """
    names = list(dict.fromkeys(names))
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    documents = session.documents
    known = [name for name in names if _has(documents.callers, name)]
    change = Change(
        edit=lambda text: reduce(without_caller, [name for name in known if name in names_of(text)], text),
        is_in=lambda document: not any(_has(document, name) for name in names),
        grants=False,
    )
    lost = {name: _keys_of(documents.callers, name) for name in names if name != EVERYBODY}
    after = session.check(change)
    check_everybody(session, lost, after, yes=yes)
    if known:
        with kept_keys_told(session, lost, after):
            session.write(change)
        say(f"Written: {', '.join(known)} {'are no callers' if len(known) > 1 else 'is no caller'} any more.")
        for name in known:
            if made := documents.key_file(name):
                made.unlink(missing_ok=True)
    swept = sweep(session, lost, after)
    absent = [name for name in names if name not in known and name not in swept.names]
    if not swept.failed and len(absent) == len(names):
        raise unknown(documents, *absent)
    session.confirm(change)
    if absent and not swept.failed:
        raise unknown(documents, *absent)
    swept.check()


def _end(not_after: str | None, *, now: float) -> datetime | None:
    """Return when an entry ends; a moment that is over is a slip."""
    if not_after is None:
        return None
    end = moment(not_after, now=now)
    if end.timestamp() <= now:
        raise typer.BadParameter("is over already", param_hint="--not-after")
    return end


def _has(document: CallersDocument, name: str) -> bool:
    """Return whether a document has an entry of this name, be it one that the app refuses."""
    return name in document.callers or name in document.refused


def _keys_of(document: CallersDocument, name: str) -> tuple[str, ...]:
    return tuple(digest for digest, owner in document.owners.items() if owner == name)


def _no_keys(names: Sequence[str]) -> Mapping[str, str]:
    """Return hashes that stand for keys which are not made yet."""
    return {name: key_digest(name) for name in names}


def _addition(digests: Mapping[str, str], entries: list[Allow], end: datetime | None) -> Change:
    def edit(text: str) -> str:
        for name, digest in digests.items():
            text = with_caller(text, name, digest=digest, allow=entries, not_after=end)
        return text

    def is_in(document: CallersDocument) -> bool:
        found = {name: document.callers.get(name) for name in digests}
        return all(
            caller is not None
            and digests[name] in caller.key_sha256
            and caller.not_after == end
            and set(entries) <= set(caller.allow)
            for name, caller in found.items()
        )

    return Change(edit=edit, is_in=is_in, grants=True)


def _second_keys(digests: Mapping[str, str], held: Mapping[str, tuple[str, ...]]) -> Change:
    def edit(text: str) -> str:
        for name, digest in digests.items():
            text = with_keys(text, name, [*held[name], digest], over=held[name])
        return text

    return Change(
        edit=edit,
        is_in=lambda document: all(document.owners.get(digest) == name for name, digest in digests.items()),
        grants=True,
    )


@contextmanager
def _told(keys: MadeKeys, what: str) -> Iterator[None]:
    """Name the callers without a new key behind all else, and end with exit code 1 if there are any."""
    try:
        yield
    finally:
        if keys.missing:
            complain(f"{what}: {', '.join(keys.missing)}.", "Repeat the command for those alone.")
    if keys.missing:
        raise typer.Exit(1)


def _finish(session: Session, held: Mapping[str, tuple[str, ...]], *, yes: bool) -> None:
    """Take the old keys of callers away: those that they have now, but for the last ones."""
    old = {name: keys[:-1] for name, keys in held.items()}
    rolled = [name for name, digests in old.items() if digests]
    gone = {digest for digests in old.values() for digest in digests}

    def edit(text: str) -> str:
        for name in rolled:
            text = with_keys(text, name, held[name][-1:], over=held[name])
        return text

    change = Change(edit=edit, is_in=lambda document: not document.owners.keys() & gone, grants=False)
    after = session.check(change)
    check_everybody(session, old, after, yes=yes)
    if rolled:
        with kept_keys_told(session, old, after):
            session.write(change)
        which = "keys of {} are" if len(rolled) > 1 else "key of {} is"
        say(f"Written: the old {which.format(', '.join(rolled))} not in the document any more.")
    swept = sweep(session, old, after)
    idle = [name for name in old if name not in rolled and name not in swept.names and not swept.failed]
    if len(idle) < len(old):
        session.confirm(change)
        swept.check()
    if idle:
        raise stop(
            f"{', '.join(idle)} has one key: there is nothing to finish.",
            f"For a new one: ./vend callers roll {' '.join(idle)}",
        )


def _check_name(name: str, known: Sequence[str]) -> None:
    """Refuse a name under which the host keeps, or may come to keep, the key of another caller; it ignores case."""
    if name == EVERYBODY:
        raise stop('"*" has no key of its own.', "Add it to the document by hand; read docs/configuration.md first.")
    taken = {slot.lower(): owner for owner in known for slot in slots_of(owner)}
    for slot in slots_of(name):
        if owner := taken.get(slot.lower()):
            raise stop(f"The name {name} is too close to that of {owner}: the host would keep one key for both.")
