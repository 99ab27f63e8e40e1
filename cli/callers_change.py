"""`./vend callers allow`, `deny`, `set` and `purge`: what a caller may have and how often, and the kill switch."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from cli.callers_text import (
    CannotEdit,
    Value,
    generation_of,
    with_allowed,
    with_generation,
    with_values,
    without_scopes,
)
from cli.documents import Config, Documents, scopes_of, unknown
from cli.entries import Profile, Tenants, entries_of, shown_entries
from cli.host_keys import ResourceId
from cli.keys import LOCAL_APP, App
from cli.moment import FORMS, moment
from cli.names import SCOPE, good_scopes, listed
from cli.patience import patience_of
from cli.screen import misuse, say, stop
from cli.session import As, Change, Name, Session, open_session
from shared.core.documents.callers import CallersDocument, parse_callers
from shared.core.policy import Allow, Caller, Mode, Offer, tenants_of

NONE = "none"

Scopes = Annotated[
    list[str],
    typer.Argument(metavar=SCOPE, callback=good_scopes, help="Such as https://graph.microsoft.com/.default"),
]


def _no_option(context: typer.Context, value: list[str] | None) -> None:
    if value:
        raise misuse("--allow, --scope", "scopes have no option here", f"Write {context.command_path} NAME {SCOPE}")


NoOption = Annotated[
    list[str] | None, typer.Option("--allow", "--scope", hidden=True, is_eager=True, callback=_no_option)
]
"""Other commands have one of these options."""

type Pair = tuple[str, str, str]
"""A profile, a tenant and a scope."""


class ModeChoice(StrEnum):
    """The values of --mode."""

    AUDIT = Mode.AUDIT.value
    ENFORCE = Mode.ENFORCE.value


def allow(
    context: typer.Context,
    name: Name,
    scopes: Scopes,
    *,
    _scopes: NoOption = None,
    profile: Profile = None,
    tenant: Tenants = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Let a caller have more scopes.

    Exit code 0: each worker seen goes by the new document. 1: that is not certain.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    documents = session.documents
    _caller(documents, name)
    offers = documents.settings.offers
    asked = entries_of(documents, scopes, profile=profile, tenants=tuple(tenant or ()))
    wanted = _pairs(asked, offers)

    def edit(text: str) -> str:
        # Another operator may have given it some of this meanwhile.
        caller = parse_callers(text.encode(), offers, name=documents.callers_file).callers.get(name)
        if caller is None:
            raise CannotEdit(f"has no good entry of {name} by now")
        missing = [entry for each in asked for entry in _missing(each, caller, offers)]
        return with_allowed(text, name, missing) if missing else text

    _make(
        session,
        Change(
            edit=edit,
            is_in=lambda document: name in document.callers and wanted <= _pairs(document.callers[name].allow, offers),
            grants=True,
        ),
        f"{name} may have {shown_entries(asked)}.",
        already=f"{name} has {shown_entries(asked)} already: nothing changed.",
    )


def deny(
    context: typer.Context,
    name: Name,
    scopes: Scopes,
    *,
    _scopes: NoOption = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Take scopes from a caller, in every profile and tenant.

    Exit code 0: each worker seen goes by a document without them. 1: that is not certain, and a worker may serve them;
    or neither the caller nor a profile has such a scope.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    documents, offers = session.documents, session.documents.settings.offers
    caller, taken = _caller(documents, name), set(scopes)
    listing = dict.fromkeys(scope for entry in caller.allow for scope in entry.scopes)
    absent = f"{name} has no entry for {', '.join(sorted(taken - listing.keys()))}"
    has = f"It has: {listed([*listing])}"
    # A scope that a profile has may be gone by an earlier run, which could not tell whether that was in force.
    misspelt = taken - listing.keys() - set(scopes_of(documents.settings))
    if misspelt == taken:
        raise stop(f"{absent}: there is nothing to deny, and nothing was written.", has)
    if by_audit := _served_by_audit(caller, taken, offers):
        raise stop(
            f'{name} is in mode "audit", which serves {by_audit} although no entry lists it: nothing was written.',
            f"First: ./vend callers set {name} --mode enforce",
        )

    def is_in(document: CallersDocument) -> bool:
        now = document.callers.get(name)
        if now is None:
            return True
        is_listed = taken & {scope for entry in now.allow for scope in entry.scopes}
        return not is_listed and not _served_by_audit(now, taken, offers)

    _make(
        session,
        Change(edit=lambda text: without_scopes(text, name, taken), is_in=is_in, grants=False),
        f"{name} may not have {', '.join(scope for scope in dict.fromkeys(scopes) if scope not in misspelt)}.",
        already=f"{absent}: nothing changed. {has}",
    )
    if misspelt:
        raise stop(f"{absent}.", "./vend callers list shows what it has now.")


def change(
    context: typer.Context,
    name: Name,
    *,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N|none", help="Requests a minute and worker; none: no limit.")
    ] = None,
    mode: Annotated[
        ModeChoice | None,
        typer.Option(
            "--mode",
            metavar="audit|enforce",
            help="audit: also serve what a profile of the caller has, and log it; enforce: do not.",
        ),
    ] = None,
    not_after: Annotated[
        str | None,
        typer.Option(
            "--not-after",
            metavar="DATE|none",
            help=f"When the entry ends: {FORMS}; none takes the end away.",
        ),
    ] = None,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Change the rate, the mode or the end of a caller.

    Exit code 0: each worker seen goes by the new document. 1: that is not certain.
    """
    values: dict[str, Value | None] = {}
    effect = ""
    if rate is not None:
        values["per_worker_per_minute"] = _number(rate)
    if mode is not None:
        values["mode"] = mode.value
    if not_after is not None:
        now = patience_of(context).now()
        end = None if not_after == NONE else moment(not_after, now=now)
        values["not_after"] = end
        effect = f" That time is over: {name} gets no token any more." if end and end.timestamp() <= now else ""
    if not values:
        raise typer.BadParameter("at least one of them is needed", param_hint="--rate, --mode, --not-after")
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    _caller(session.documents, name)
    has = f"{name} has {', '.join(f'{key} = {NONE if value is None else value}' for key, value in values.items())}"
    _make(
        session,
        Change(
            edit=lambda text: with_values(text, name, values),
            is_in=lambda document: name in document.callers and _has(document.callers[name], values),
            grants=True,
        ),
        f"{has}.{effect}",
        already=f"{has} already: nothing changed.",
    )


def purge(
    context: typer.Context,
    *,
    admin: As = None,
    app: App = LOCAL_APP,
    resource_id: ResourceId = None,
    config: Config = None,
) -> None:
    """Make every worker drop its cached tokens: raise the generation of the document.

    Exit code 0: each worker seen has dropped them. 1: that is not certain.
    """
    session = open_session(context, app=app, resource_id=resource_id, config=config, admin=admin)
    before = session.documents.callers.generation
    _make(
        session,
        Change(
            edit=lambda text: with_generation(text, max(session.generation, generation_of(text)) + 1),
            is_in=lambda document: document.generation > max(session.generation, before),
            grants=True,
        ),
        "the generation is raised: every worker drops its cached tokens.",
    )


def _make(session: Session, change: Change, what: str, *, already: str = "") -> None:
    """Write a change, and wait until it is in force; so a command that could not tell can be repeated.

    Args:
        session: of the command.
        change: what is made.
        what: says so.
        already: says that the document has it already.
    """
    session.check(change)
    say(f"Written: {what}" if session.write(change) else already)
    session.confirm(change)


def _caller(documents: Documents, name: str) -> Caller:
    caller = documents.callers.callers.get(name)
    if caller is None:
        raise unknown(documents, name)
    return caller


def _pairs(entries: list[Allow] | tuple[Allow, ...], offers: Mapping[str, Offer]) -> set[Pair]:
    """Return what entries offer, tenant by tenant."""
    return {
        (entry.profile, tenant, scope)
        for entry in entries
        for tenant in tenants_of(entry, offers)
        for scope in entry.scopes
    }


def _missing(asked: Allow, caller: Caller, offers: Mapping[str, Offer]) -> list[Allow]:
    """Return the entries that a caller lacks, so that no two entries offer the same."""
    held = _pairs(caller.allow, offers)
    by_tenants: dict[tuple[str, ...], list[str]] = {}
    for scope in asked.scopes:
        lacking = tuple(tenant for tenant in tenants_of(asked, offers) if (asked.profile, tenant, scope) not in held)
        if lacking == tenants_of(asked, offers):
            # Without tenants it goes on to mean all of the profile, also those that come later.
            by_tenants.setdefault(asked.tenants, []).append(scope)
        elif lacking:
            by_tenants.setdefault(lacking, []).append(scope)
    return [Allow(profile=asked.profile, scopes=tuple(each), tenants=tenants) for tenants, each in by_tenants.items()]


def _served_by_audit(caller: Caller, taken: set[str], offers: Mapping[str, Offer]) -> str:
    """Return the scopes among those taken that mode "audit" would go on serving."""
    if caller.mode is not Mode.AUDIT:
        return ""
    left = [offers[entry.profile] for entry in caller.allow if set(entry.scopes) - taken and entry.profile in offers]
    return ", ".join(sorted(taken & {scope for offer in left for scope in offer.scopes}))


def _has(caller: Caller, values: Mapping[str, Value | None]) -> bool:
    held = {
        "per_worker_per_minute": caller.per_worker_per_minute,
        "mode": caller.mode.value,
        "not_after": caller.not_after,
    }
    return all(held[key] == value for key, value in values.items())


def _number(text: str) -> int | None:
    if text == NONE:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text)):
        raise typer.BadParameter("must be a number from 1, or none", param_hint="--rate")
    return int(text)
