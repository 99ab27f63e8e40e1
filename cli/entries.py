"""The entries of a caller's `allow`: scopes on the command line -> the profiles that have them."""

from collections.abc import Iterable
from typing import Annotated

import typer

from cli.documents import Documents
from cli.screen import misuse, stop
from shared.core.names import is_default_scope, is_guid
from shared.core.policy import Allow


def good_scopes[T: (str, list[str], None)](option: typer.CallbackParam, value: T) -> T:
    """Return what was given as a scope or as several; end with exit code 2 where one is not resource/.default."""
    for scope in _each(value):
        if not is_default_scope(scope):
            whole = f"{scope.rstrip('/')}/.default"
            hint = f"Write {whole}" if is_default_scope(whole) else "For example https://graph.microsoft.com/.default"
            raise misuse(option, f"{scope} is not of the form resource/.default", hint)
    return value


def good_tenants[T: (str, list[str], None)](option: typer.CallbackParam, value: T) -> T:
    """Return what was given as a tenant or as several; end with exit code 2 where one is no GUID."""
    if not all(map(is_guid, _each(value))):
        raise misuse(option, "must be a GUID", "Use the directory (tenant) ID.")
    return value


def _each(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="The profile, where several have a scope.")
]
Tenants = Annotated[
    list[str] | None,
    typer.Option("--tenant", metavar="GUID", callback=good_tenants, help="In these tenants alone; repeat for more."),
]


def entries_of(
    documents: Documents, scopes: list[str], *, profile: str | None, tenants: tuple[str, ...]
) -> list[Allow]:
    """Find the profile of each scope, and return one entry for each profile, or end with exit code 1 on a mistake."""
    by_profile: dict[str, list[str]] = {}
    for scope in dict.fromkeys(scopes):
        by_profile.setdefault(profile or _profile_of(documents, scope), []).append(scope)
    return [Allow(profile=name, scopes=tuple(each), tenants=tenants) for name, each in by_profile.items()]


def shown_entries(entries: Iterable[Allow]) -> str:
    """Return the entries as a text."""
    return "; ".join(f"{', '.join(entry.scopes)} (profile {entry.profile})" for entry in entries)


def _profile_of(documents: Documents, scope: str) -> str:
    offers = documents.settings.offers
    having = [name for name, offer in offers.items() if offer.vendable and scope in offer.scopes]
    if len(having) != 1:
        which = f"several profiles: {', '.join(having)}" if having else "no profile that is vendable"
        raise stop(
            f"{scope} is of {which}.",
            "Choose one: --profile NAME" if having else f"First add it to a profile in {documents.settings_file}.",
        )
    return having[0]
