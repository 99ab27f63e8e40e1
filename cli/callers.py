"""`./vend callers add`, `roll` and `revoke`: who may have what, in the document and among the keys of the host.

A key opens nothing until the document has its hash, and nothing any more once it has not. So a key is made before the
document has it, and deleted after; wherever a command breaks off, it can be repeated.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.acceptance import Patience, await_acceptance
from cli.callers_text import CannotEdit, with_caller, with_key, with_last_key_alone, without_caller
from cli.document_store import Changed, rewrite
from cli.documents import Config, Documents, read_documents
from cli.host_keys import HostKeys, ResourceId, check_cloud, host_keys
from cli.http import check_address
from cli.keys import LOCAL_APP, App
from cli.new_key import KeyFile, new_key
from cli.screen import GOOD, say, stop
from shared.core.documents.callers import parse_callers
from shared.core.documents.toml import DocumentError
from shared.core.policy import EVERYBODY, Allow, Caller

NOTHING_YET = b"generation = 1\n"
NO_KEY = "0" * 64
IN_FORCE = "In force within 30 s on every worker, without a restart."

Name = Annotated[str, typer.Argument(metavar="NAME", help="The caller.")]


def add(
    context: typer.Context,
    name: Name,
    allow: Annotated[
        list[str],
        typer.Option("--allow", metavar="SCOPE", help="What it may have, resource/.default; repeat for more."),
    ],
    *,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="P", help="The profile, where several have a scope.")
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", metavar="GUID", help="In these tenants alone; repeat for more.")
    ] = None,
    key_file: KeyFile = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Add a caller: have its function key made, and say in the document what it may have.

    The key is printed once, alone on stdout; or written to --key-file; or, at a `make run`, to .run/NAME.key.
    """
    address = check_address(app, at="--app")
    documents = read_documents(config, absent=NOTHING_YET)
    check_cloud(documents, app=address)
    known = documents.callers.callers
    if name in known:
        raise stop(
            f"{documents.callers_file} has a caller {name} already.", f"For another key: ./vend callers roll {name}"
        )
    _check_name(name, known)
    entries = _entries(documents, allow, profile=profile, tenants=tuple(tenant or ()))

    def edit(text: str, digest: str) -> str:
        return with_caller(text, name, digest=digest, allow=entries)

    # Its mistakes are told before anything is made.
    _edited(documents, documents.version.content, lambda text: edit(text, NO_KEY))
    key = _Key(name, documents, address, resource_id, key_file)
    _write(documents, lambda text: edit(text, key.digest))
    offered = "; ".join(f"{', '.join(entry.scopes)} (profile {entry.profile})" for entry in entries)
    key.output.tell(f"{name} may have {offered}. {IN_FORCE}")
    key.await_acceptance(context)


def roll(
    context: typer.Context,
    name: Name,
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Remove the old key: the service uses the new one.")] = False,
    key_file: KeyFile = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Give a caller a second key; both are good until --finish removes the old one.

    The key is printed once, alone on stdout; or written to --key-file; or, at a `make run`, to .run/NAME.key.
    """
    address = check_address(app, at="--app")
    documents = read_documents(config)
    check_cloud(documents, app=address)
    caller = documents.callers.callers.get(name)
    if caller is None or name == EVERYBODY:
        raise _unknown(documents, name)
    if finish:
        _finish(documents, caller, host_keys(documents, app=address, resource_id=resource_id))
        return
    if len(caller.key_sha256) > 1:
        raise stop(f"{name} has {len(caller.key_sha256)} keys already.", f"First: ./vend callers roll {name} --finish")
    key = _Key(name, documents, address, resource_id, key_file)
    _write(documents, lambda text: with_key(text, name, key.digest))
    key.output.tell(f"{name} has a second key, and both are good. {IN_FORCE}")
    key.await_acceptance(context)
    key.output.tell(f"When the service uses the new one: ./vend callers roll {name} --finish")


def revoke(name: Name, app: App = LOCAL_APP, resource_id: ResourceId = None, config: Config = None) -> None:
    """Take a caller and its keys away: first from the document, which alone decides, then from the host."""
    address = check_address(app, at="--app")
    documents = read_documents(config)
    check_cloud(documents, app=address)
    caller = documents.callers.callers.get(name)
    if caller:
        _write(documents, lambda text: without_caller(text, name))
        documents = read_documents(config)
        say(f"{name} is revoked. {IN_FORCE}", style=GOOD)
        if made := documents.key_file(name):
            made.unlink(missing_ok=True)
    if name == EVERYBODY:
        return
    swept = _sweep(documents, name, host_keys(documents, app=address, resource_id=resource_id), before=caller)
    if not caller and not swept:
        raise _unknown(documents, name)


class _Key:
    """A new key of a caller: made by the host, and handed over before anything else can go wrong."""

    def __init__(
        self, name: str, documents: Documents, app: str, resource_id: str | None, key_file: Path | None
    ) -> None:
        keys = host_keys(documents, app=app, resource_id=resource_id)
        known, held = documents.callers.owners, keys.digests()
        slot = next((slot for slot in _slots(name) if held.get(slot) not in known), None)
        if slot is None:
            raise stop(f"The host has keys {' and '.join(_slots(name))} already, and callers use them.")
        self.output = new_key(documents, name, key_file)
        self._app, self._value = app, keys.make(slot)
        self.output.take(self._value)

    @property
    def digest(self) -> str:
        """What the document has of it."""
        return hashlib.sha256(self._value.encode()).hexdigest()

    def await_acceptance(self, context: typer.Context) -> None:
        """Wait until it opens the app, and say so, or what is known instead."""
        patience = context.obj if isinstance(context.obj, Patience) else Patience()
        unsure = await_acceptance(self._app, self._value, patience=patience)
        if unsure:
            self.output.tell(f"Whether the key works already is not known. {unsure}")
        else:
            self.output.tell("The key works.", style=GOOD)


def _finish(documents: Documents, caller: Caller, keys: HostKeys) -> None:
    name = caller.name
    is_rolled = len(caller.key_sha256) > 1
    if is_rolled:
        _write(documents, lambda text: with_last_key_alone(text, name))
        documents = read_documents(documents.config)
        say(f"{name} has its new key alone. {IN_FORCE}", style=GOOD)
    if not _sweep(documents, name, keys, before=caller) and not is_rolled:
        raise stop(f"{name} has one key: there is nothing to finish.", f"For a new one: ./vend callers roll {name}")


def _sweep(documents: Documents, name: str, keys: HostKeys, *, before: Caller | None) -> bool:
    """Delete what the host holds of a caller and the document does not know any more; tell whether there was any.

    What was left by a command that broke off goes too, by its name.
    """
    known = documents.callers.owners
    gone = set(before.key_sha256 if before else ()) - known.keys()
    swept = [
        slot
        for slot, digest in keys.digests().items()
        if digest in gone or (slot in _slots(name) and digest not in known)
    ]
    for slot in swept:
        keys.delete(slot)
        say(f"The host has no key {slot} any more.")
    return bool(swept)


def _slots(name: str) -> tuple[str, str]:
    """What the keys of a caller are called among those of the host: it has two while it is rolled."""
    return name, f"{name}-2"


def _check_name(name: str, known: Mapping[str, Caller]) -> None:
    """Refuse a name under which the host keeps, or may come to keep, the key of somebody else; it ignores case."""
    if name == EVERYBODY:
        raise stop('"*" has no key of its own.', "Add it to the document by hand; read docs/configuration.md first.")
    taken = {slot.lower(): owner for owner in known for slot in _slots(owner)} | {"default": "the host itself"}
    for slot in _slots(name):
        if owner := taken.get(slot.lower()):
            raise stop(f"The name {name} is too close to that of {owner}: the host would keep one key for both.")


def _entries(documents: Documents, scopes: list[str], *, profile: str | None, tenants: tuple[str, ...]) -> list[Allow]:
    """Find the profile of each scope, and make one entry for each profile."""
    by_profile: dict[str, list[str]] = {}
    for scope in dict.fromkeys(scopes):
        offers = documents.settings.offers
        having = [name for name, offer in offers.items() if offer.vendable and scope in offer.scopes]
        if profile is None and len(having) != 1:
            which = f"several profiles: {', '.join(having)}" if having else "no profile that is vendable"
            raise stop(
                f"{scope} is of {which}.",
                "Choose one: --profile P" if having else f"First add it to a profile in {documents.settings_file}.",
            )
        by_profile.setdefault(profile or having[0], []).append(scope)
    return [Allow(profile=name, scopes=tuple(each), tenants=tenants) for name, each in by_profile.items()]


def _write(documents: Documents, edit: Callable[[str], str]) -> None:
    """Write the edited document, or end with exit code 1."""
    try:
        rewrite(documents.store, lambda content: _edited(documents, content, edit), over=documents.version)
    except Changed:
        raise stop(
            f"Somebody else is changing {documents.callers_file} too: nothing was written.", "Repeat the command."
        ) from None


def _edited(documents: Documents, content: bytes | None, edit: Callable[[str], str]) -> bytes:
    """Edit the document and hold it against the app's own rules, or end with exit code 1."""
    mistakes: Sequence[str]
    try:
        edited = edit((NOTHING_YET if content is None else content).decode()).encode()
        mistakes = parse_callers(edited, documents.settings.offers, name=documents.callers_file).mistakes
    except CannotEdit as error:
        raise stop(f"{documents.callers_file} {error}: nothing was written.") from None
    except DocumentError as error:
        mistakes = error.mistakes
    else:
        if not mistakes:
            return edited
    for mistake in mistakes:
        say(mistake, error=True)
    raise stop("Nothing was written.")


def _unknown(documents: Documents, name: str) -> typer.Exit:
    known = ", ".join(documents.callers.callers) or "nobody"
    return stop(f"{documents.callers_file} has no caller {name}. It has: {known}")
