"""`./vend callers rekey`: new keys for callers whose keys the host has lost.

A host that cannot read its keys makes new ones and forgets the others (azure-functions-host issue 7458). With `--all` a
caller of which the host has a key is left alone, so that the command can be repeated; so is one that has identities
alone. A caller that is named gets a new key in place of each that the host does not have, and keeps the other.
"""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.callers_text import with_keys
from cli.documents import Config, unknown
from cli.host_keys import ResourceId
from cli.keys import LOCAL_APP, App, key_digest
from cli.left_keys import sweep
from cli.made_keys import MadeKeys
from cli.names import good_names
from cli.new_key import KeyFolder
from cli.screen import GOOD, complain, say, stop
from cli.session import As, Change, Session, open_session
from shared.core.policy import EVERYBODY


def rekey(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", callback=good_names, help="The callers.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every caller whose keys the host has lost.")] = False,
    key_folder: KeyFolder = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Replace the keys of callers that the host has lost.

    A key goes to --key-folder, or to stdout, behind the name where there are several; or, at a `make run`, to
    .run/NAME.key.

    Exit code 0: each worker seen goes by the new document, and the keys open the app, or no key was lost. 1: that is
    not certain, or a caller has no new key.
    """
    if every is bool(names):
        raise typer.BadParameter("exactly one of them is needed", param_hint="NAME, --all")
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    callers = session.documents.callers.callers
    chosen = list(dict.fromkeys(names or callers))
    if absent := [name for name in chosen if name not in callers or (names and name == EVERYBODY)]:
        raise unknown(session.documents, *absent)
    held, _ = session.keys_now()
    known = set(held.values())
    old = {name: callers[name].key_sha256 for name in chosen}
    away = {name: tuple(digest for digest in keys if digest not in known) for name, keys in old.items()}
    lost = {name: keys for name, keys in away.items() if keys and (names or keys == old[name])}
    if names and (kept := [name for name in chosen if name not in lost]):
        raise stop(
            f"The host has lost no key of {', '.join(kept)}.", f"For another key: ./vend callers roll {' '.join(kept)}"
        )
    if not lost:
        say("The host has a key of every caller that has one.", style=GOOD)
        return
    session.check(_new_keys({name: key_digest(name) for name in lost}, old, lost))
    keys = MadeKeys.make(session, list(lost), key_folder=key_folder, repeats=True)
    change = _new_keys(keys.digests, old, lost)
    keys.write(change)
    keys.tell(f"Written: {', '.join(keys.digests)} {'have' if len(keys.digests) > 1 else 'has'} a new key.")
    keys.confirm(change)
    _sweep(session, {name: lost[name] for name in keys.digests})
    if keys.missing:
        raise stop(f"Without a new key: {', '.join(keys.missing)}.", "Repeat the command.")


def _sweep(session: Session, lost: Mapping[str, tuple[str, ...]]) -> None:
    """Delete what commands have left at the host of the keys that were replaced."""
    swept = sweep(session, lost, session.keys_now()[1])
    if swept.failed:
        complain("The keys that are meant are in force all the same.")
    swept.check()


def _new_keys(
    digests: Mapping[str, str], old: Mapping[str, tuple[str, ...]], lost: Mapping[str, tuple[str, ...]]
) -> Change:
    def edit(text: str) -> str:
        for name, digest in digests.items():
            kept = [each for each in old[name] if each not in lost[name]]
            text = with_keys(text, name, [*kept, digest], over=old[name])
        return text

    return Change(
        edit=edit,
        is_in=lambda document: all(document.owners.get(digest) == name for name, digest in digests.items()),
        grants=True,
    )
