"""`./vend apply`: makes the callers document and the keys of the host what a wanted document says.

Keys are made first, then the document is written once, and keys that no caller has any more are deleted last, when the
document is in force. So every caller of the document has its key at each moment, and wherever the command breaks off it
can be repeated. It writes over the document that the plan was made of, and over no other.
"""

from typing import Annotated

import typer

from cli.documents import Config
from cli.event_log import Log
from cli.host_keys import ResourceId
from cli.keys import LOCAL_APP, App, key_digest
from cli.left_keys import check_everybody, kept_keys_told, sweep
from cli.lost_keys import tell_lost
from cli.made_keys import MadeKeys
from cli.new_key import KeyFolder
from cli.plan import Plan, make_plan
from cli.screen import counted, say, stop
from cli.session import NOTHING_YET, As, open_session
from cli.wanted import File

Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        help='Go on even if a caller that was seen could be cut off, or a key gets what [callers."*"] may have.',
    ),
]


def apply(
    context: typer.Context,
    file: File,
    *,
    yes: Yes = False,
    key_folder: KeyFolder = None,
    log: Log = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Make the callers and their keys what FILE says; `./vend plan FILE` says before what that changes.

    The new keys go to --key-folder, or to stdout, each behind the name of its caller, or, at a `make run`, to
    .run/NAME.key. A key that vend did not make is never touched.

    Exit code 0: each worker seen goes by the new document, and the keys open the app. 1: that is not certain, or
    nothing was written. Repeat the command.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin, absent=NOTHING_YET)
    plan = make_plan(context, session, file, log)
    cuts = plan.cuts()
    for name, why in cuts.items():
        say(f"{name} could be cut off: {why}.", error=True)
    if cuts and not yes:
        raise stop("Nothing was written.", f"./vend plan {file} tells more. To go on all the same: --yes")
    after = session.check(plan.change({name: key_digest(name) for name in plan.keyless}), anew=yes)
    check_everybody(session, plan.lost, after, yes=yes)
    with kept_keys_told(session, plan.lost, after):
        _make(plan, _keys(plan, key_folder) if plan.keyless else None)
    for name in session.documents.callers.callers:
        if name in plan.lost and name not in plan.wanted.keyed and (made := session.documents.key_file(name)):
            made.unlink(missing_ok=True)
    swept = sweep(session, plan.lost, after) if plan.lost else None
    if tell_lost(session, plan.wanted.keyed):
        raise typer.Exit(1)
    if swept:
        swept.check()


def _keys(plan: Plan, key_folder: KeyFolder) -> MadeKeys:
    """Make the missing keys at the host: all of them, or none."""
    keys = MadeKeys.make(plan.session, plan.keyless, key_folder=key_folder, repeats=True)
    if keys.missing:
        keys.take_back()
        raise stop(f"There is no key for {', '.join(keys.missing)}: nothing was written.", "Repeat the command.")
    return keys


def _make(plan: Plan, keys: MadeKeys | None) -> None:
    """Write the document and wait until it is in force."""
    session, change = plan.session, plan.change(keys.digests if keys else {})
    write, tell = (keys.write, keys.tell) if keys else (session.write, say)
    write(change)
    changed = counted(len(plan.differences), "caller")
    tell(f"Written: {changed} changed." if plan.differences else "Nothing to change.")
    if keys:
        keys.confirm(change)
    else:
        session.confirm(change)
