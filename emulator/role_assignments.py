"""Role assignments of one part of the local cloud: Azure roles as sets of actions, denied by default."""

from collections.abc import Mapping
from fnmatch import fnmatchcase


class RoleAssignments:
    """Which principal holds which roles on the whole of a part.

    Args:
        roles: by the name of each, the patterns of the actions that it allows.
    """

    def __init__(self, roles: Mapping[str, frozenset[str]]) -> None:
        self._roles = roles
        self._held: dict[str, set[str]] = {}

    def assign(self, principal_id: str, role: str) -> None:
        """Assign a role; assigning it twice changes nothing.

        Raises:
            KeyError: there is no such role.
        """
        if role not in self._roles:
            raise KeyError(role)
        self._held.setdefault(principal_id, set()).add(role)

    def unassign(self, principal_id: str, role: str) -> None:
        """Take a role away; the next request is refused, where Azure needs minutes."""
        self._held.get(principal_id, set()).discard(role)

    def permit(self, principal_id: str, action: str) -> bool:
        """Return whether one of the principal's roles holds the action (named without the provider's prefix)."""
        held = self._held.get(principal_id, ())
        return any(fnmatchcase(action, pattern) for role in held for pattern in self._roles[role])
