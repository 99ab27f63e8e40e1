"""The entries of a caller's `allow`: scopes on the command line -> the profiles that have them."""

from collections.abc import Iterable
from typing import Annotated

import typer

from cli.documents import Documents, scopes_of
from cli.names import good_tenants, listed
from cli.screen import stop
from shared.core.policy import Allow

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
    if profile is not None:
        _check_profile(documents, profile, scopes)
    by_profile: dict[str, list[str]] = {}
    for scope in dict.fromkeys(scopes):
        by_profile.setdefault(profile or _profile_of(documents, scope), []).append(scope)
    for name in by_profile:
        _check_tenants(documents, name, tenants)
    return [Allow(profile=name, scopes=tuple(each), tenants=tenants) for name, each in by_profile.items()]


def shown_entries(entries: Iterable[Allow]) -> str:
    """Return the entries as a text."""
    return "; ".join(f"{', '.join(entry.scopes)} (profile {entry.profile})" for entry in entries)


def _check_profile(documents: Documents, profile: str, scopes: list[str]) -> None:
    file, offers = documents.settings_file, documents.settings.offers
    offer = offers.get(profile)
    if offer is None or not offer.vendable:
        lack = "has no profile" if offer is None else "gives no caller anything of profile"
        vendable = ", ".join(name for name, offer in offers.items() if offer.vendable)
        raise stop(f"--profile: {file} {lack} {profile}.", f"Its profiles for callers: {vendable or 'none'}")
    if absent := [scope for scope in scopes if scope not in offer.scopes]:
        raise stop(
            f"--profile: profile {profile} in {file} does not have {', '.join(absent)}.",
            f"It has: {listed(offer.scopes)}",
        )


def _check_tenants(documents: Documents, profile: str, tenants: tuple[str, ...]) -> None:
    known = documents.settings.offers[profile].tenants
    if absent := [tenant for tenant in tenants if tenant.lower() not in known]:
        raise stop(
            f"--tenant: profile {profile} in {documents.settings_file} does not have {', '.join(absent)}.",
            f"It has: {', '.join(known)}",
        )


def _profile_of(documents: Documents, scope: str) -> str:
    offers, file = documents.settings.offers, documents.settings_file
    having = [name for name, offer in offers.items() if offer.vendable and scope in offer.scopes]
    if not having:
        raise stop(
            f"{scope} is of no profile that is vendable. Those in {file} have: {listed(scopes_of(documents.settings))}",
            f"If the scope is right: first add it to a profile in {file}.",
        )
    if len(having) > 1:
        raise stop(f"{scope} is of several profiles: {', '.join(having)}.", "Choose one: --profile NAME")
    return having[0]
