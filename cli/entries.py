"""The entries of a caller's `allow`: scopes on the command line -> the profiles that have them."""

from typing import Annotated

import typer

from cli.documents import Documents
from cli.screen import stop
from shared.core.names import is_default_scope
from shared.core.policy import Allow

Profile = Annotated[str | None, typer.Option("--profile", metavar="P", help="The profile, where several have a scope.")]
Tenants = Annotated[
    list[str] | None, typer.Option("--tenant", metavar="GUID", help="In these tenants alone; repeat for more.")
]


def entries_of(
    documents: Documents, scopes: list[str], *, profile: str | None, tenants: tuple[str, ...]
) -> list[Allow]:
    """Find the profile of each scope, and return one entry for each profile; end with exit code 1 on a mistake."""
    by_profile: dict[str, list[str]] = {}
    for scope in dict.fromkeys(scopes):
        check_scope(scope)
        by_profile.setdefault(profile or _profile_of(documents, scope), []).append(scope)
    return [Allow(profile=name, scopes=tuple(each), tenants=tenants) for name, each in by_profile.items()]


def check_scope(scope: str) -> None:
    """End with exit code 1 where a scope is not resource/.default."""
    if not is_default_scope(scope):
        raise stop(f"{scope} is not of the form resource/.default.", f"Write {scope.rstrip('/')}/.default")


def shown_entries(entries: list[Allow]) -> str:
    """Return the entries as a text."""
    return "; ".join(f"{', '.join(entry.scopes)} (profile {entry.profile})" for entry in entries)


def _profile_of(documents: Documents, scope: str) -> str:
    offers = documents.settings.offers
    having = [name for name, offer in offers.items() if offer.vendable and scope in offer.scopes]
    if len(having) != 1:
        which = f"several profiles: {', '.join(having)}" if having else "no profile that is vendable"
        raise stop(
            f"{scope} is of {which}.",
            "Choose one: --profile P" if having else f"First add it to a profile in {documents.settings_file}.",
        )
    return having[0]
