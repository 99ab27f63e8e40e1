"""The application permissions of Microsoft Graph that read the directory.

Source: https://learn.microsoft.com/graph/permissions-reference
"""

from collections.abc import Mapping

from emulator.directory.kinds import APPLICATIONS, GROUPS, SERVICE_PRINCIPALS, USERS, Kind

EVERYTHING = "Directory.Read.All"
GROUP_MEMBERS = "GroupMember.Read.All"
HIDDEN_MEMBERS = "Member.Read.Hidden"
READERS: Mapping[str, frozenset[str]] = {
    USERS.name: frozenset({"User.Read.All", EVERYTHING}),
    GROUPS.name: frozenset({"Group.Read.All", GROUP_MEMBERS, EVERYTHING}),
    SERVICE_PRINCIPALS.name: frozenset({"Application.Read.All", EVERYTHING}),
    APPLICATIONS.name: frozenset({"Application.Read.All", EVERYTHING}),
}
"""By the name of a kind: one of these permissions is enough."""
ROLES = frozenset({HIDDEN_MEMBERS}).union(*READERS.values())
"""The app roles of Graph."""


def roles_of(claims: Mapping[str, object]) -> frozenset[str]:
    """Return the app roles of a token."""
    roles = claims.get("roles")
    return frozenset(map(str, roles)) if isinstance(roles, list) else frozenset()


def may_read(roles: frozenset[str], kind: Kind, *, members_suffice: bool) -> bool:
    """Return whether roles permit to read a kind of object.

    Args:
        roles: of the caller.
        kind: of the objects.
        members_suffice: whether `GroupMember.Read.All` reads groups: Microsoft's pages disagree.
    """
    wanted = READERS[kind.name] if members_suffice else READERS[kind.name] - {GROUP_MEMBERS}
    return not wanted.isdisjoint(roles)
