"""`./vend plan`: what `./vend apply` would make of the callers document and of the keys of the host.

It writes nothing. Exit code 0 says that the plan could be made, whether it has changes or not: scripts look at
`changes` of --json. An exit code of its own for changes would read as a failure wherever a shell ends at the first one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from cli.callers_text import CannotEdit, generation_of
from cli.differences import Difference, Right, differences
from cli.documents import Config
from cli.event_log import Log, log_of_run
from cli.granted_roles import roles_of
from cli.host_keys import ResourceId, slots_of
from cli.http import function_key
from cli.keys import LOCAL_APP, App, key_digest, key_of
from cli.last_day import QUERY, LastDay, read_last_day
from cli.patience import patience_of
from cli.screen import BAD, GOOD, counted, say
from cli.session import NOTHING_YET, As, Change, Session, open_session
from cli.wanted import File, Wanted, read_wanted
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.policy import EVERYBODY

PREFIX = "vend-"


@dataclass(frozen=True)
class Plan:
    """The planned changes of the callers document and of the keys of the host.

    Args:
        session: of the command.
        wanted: the wanted document.
        slots: the keys of vend's that the host has and no caller.
        last_day: what callers have used.
        now: seconds since the epoch.
    """

    session: Session
    wanted: Wanted
    slots: Sequence[str]
    last_day: LastDay
    now: float

    @cached_property
    def keyless(self) -> list[str]:
        """Names of the callers for which a key is to be made."""
        has = self._keys
        return [name for name in self.wanted.keyed if name not in has]

    @property
    def _keys(self) -> Mapping[str, list[str]]:
        """The keys that callers have and keep."""
        keys: dict[str, list[str]] = {}
        for digest, owner in self.session.documents.callers.owners.items():
            if owner in self.wanted.keyed:
                keys.setdefault(owner, []).append(digest)
        return keys

    @cached_property
    def differences(self) -> list[Difference]:
        """The changes of each caller that changes."""
        made = {name: key_digest(name) for name in self.keyless}
        documents = self.session.documents
        return list(
            differences(documents.callers, self.after(made), offers=documents.settings.offers, made=made, now=self.now)
        )

    @property
    def lost(self) -> Mapping[str, Sequence[str]]:
        """The SHA-256 of the keys that callers lose, and the callers of keys that a command has left at the host."""
        left = dict.fromkeys(slot.removeprefix(PREFIX) for slot in self.slots)
        return dict.fromkeys(left, ()) | {
            each.name: each.drops_keys for each in self.differences if each.name != EVERYBODY
        }

    def cuts(self) -> Mapping[str, str]:
        """Return the callers that would be cut off, and why."""
        return {each.name: why for each in self.differences if (why := self.last_day.cut_off(each))}

    def after(self, made: Mapping[str, str]) -> CallersDocument:
        """Return the document with new keys."""
        settings = self.session.documents.settings
        text = self.wanted.document(self._with(made), generation=1).encode()
        return parse_callers(text, settings.offers, name="FILE", issuers=settings.tenants_of_issuers)

    def change(self, made: Mapping[str, str]) -> Change:
        """Return the change of the document that gives it new keys; of another document than that of the plan none."""
        base = self.session.documents.callers
        after = self.after(made)
        name = self.session.documents.callers_file

        def edit(text: str) -> str:
            found = parse_callers(text.encode(), None, name=name)
            if found.callers == after.callers and not found.refused:
                return text
            if (found.callers, found.owners) != (base.callers, base.owners):
                raise CannotEdit("has changed since this plan was made")
            return self.wanted.document(self._with(made), generation=generation_of(text))

        return Change(edit=edit, is_in=lambda found: found.callers == after.callers and not found.refused, grants=True)

    def _with(self, made: Mapping[str, str]) -> Mapping[str, list[str]]:
        return {**self._keys, **{name: [digest] for name, digest in made.items()}}


def plan(
    context: typer.Context,
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
    log: Log = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Show what `./vend apply FILE` would change: what callers gain and lose, and keys of the host.

    Exit code 0: the plan is printed, with changes or without. 1: it cannot be made.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin, absent=NOTHING_YET)
    made = make_plan(context, session, file, log)
    gained = list(dict.fromkeys(right for each in made.differences for right in each.gained))
    secret = function_key(key_of(admin, app=session.app), app=session.app) if admin else None
    roles = roles_of(gained, app=session.app, secret=secret, offers=session.documents.settings.offers)
    if as_json:
        typer.echo(json.dumps(_object(made, roles)))
        return
    show(made, roles)


def make_plan(context: typer.Context, session: Session, file: Path, log: Path | None) -> Plan:
    """Read what is wanted and what is there, or end with exit code 1 or 2."""
    wanted = read_wanted(file, session.documents)
    held, now = session.keys_now()
    slots = [slot for slot, digest in held.items() if slot.startswith(PREFIX) and digest not in now.owners]
    moment = patience_of(context).now()
    return Plan(session, wanted, slots, read_last_day(log or log_of_run(), now=moment), moment)


def show(made: Plan, roles: Mapping[Right, str]) -> None:
    """Print a plan, one change in a line below its caller."""
    cuts = made.cuts()
    for each in made.differences:
        say(f"{each.name}: {each.kind}")
        for line in lines_of(each, roles):
            say(f"  {line}")
        if each.name in cuts:
            say(f"  could be cut off: {cuts[each.name]}", style=BAD)
    for slot in made.slots:
        say(f"{slot}: a key of no caller, deleted at the host")
    if not made.differences and not made.slots:
        say("No changes.", style=GOOD)
        return
    say(f"{counted(len(made.differences), 'caller')} to change, {counted(len(made.keyless), 'key')} to make.")
    if cuts:
        say(f"./vend apply needs --yes: {', '.join(cuts)} could be cut off.")
        if made.last_day.used is None:
            say("There is no log here. For an app in Azure, run this in the logs of the workspace vend-logs:")
            say(QUERY)


def lines_of(each: Difference, roles: Mapping[Right, str]) -> Iterator[str]:
    """Return the changes of one caller."""
    if each.makes_key:
        yield f"key      made at the host, {slots_of(each.name)[0]}"
    if each.drops_keys:
        yield f"key      {counted(len(each.drops_keys), 'key')} not in the document any more; the host's are deleted"
    for right in each.gained:
        yield f"gains    {right}"
        yield f"  roles  {roles.get(right, '')}"
    for right in each.lost:
        yield f"loses    {right}"
    for name, (was, will) in each.values.items():
        yield f"changes  {name}: {was} -> {will}"


def _object(made: Plan, roles: Mapping[Right, str]) -> Mapping[str, object]:
    cuts = made.cuts()
    return {
        "changes": len(made.differences) + len(made.slots),
        "needs_yes": bool(cuts),
        "callers": [
            {
                "name": each.name,
                "kind": each.kind,
                "makes_key": each.makes_key,
                "drops_keys": len(each.drops_keys),
                "gained": [_right(right) | {"roles": roles[right]} for right in each.gained],
                "lost": [_right(right) for right in each.lost],
                "values": {name: {"from": was, "to": will} for name, (was, will) in each.values.items()},
                "could_be_cut_off": cuts.get(each.name, ""),
            }
            for each in made.differences
        ],
        "keys_of_no_caller": list(made.slots),
    }


def _right(right: Right) -> dict[str, str]:
    return {"profile": right.profile, "tenant": right.tenant, "scope": right.scope}
