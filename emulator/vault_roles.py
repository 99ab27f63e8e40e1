"""Who may do what in the local vault: Azure roles as sets of data actions, denied by default.

The built-in roles hold what https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security lists.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

PREFIX = "Microsoft.KeyVault/vaults/"

ROLES: Mapping[str, frozenset[str]] = {
    "Key Vault Administrator": frozenset({"*"}),
    "Key Vault Certificates Officer": frozenset({"certificatecas/*", "certificates/*", "certificatecontacts/write"}),
    # It downloads the private key of an exportable certificate: reading a certificate needs far less.
    "Key Vault Certificate User": frozenset(
        {"certificates/read", "secrets/getSecret/action", "secrets/readMetadata/action", "keys/read"}
    ),
    "Key Vault Crypto User": frozenset(
        {
            "keys/read",
            "keys/update/action",
            "keys/backup/action",
            "keys/encrypt/action",
            "keys/decrypt/action",
            "keys/wrap/action",
            "keys/unwrap/action",
            "keys/sign/action",
            "keys/verify/action",
        }
    ),
    "Key Vault Secrets User": frozenset({"secrets/getSecret/action", "secrets/readMetadata/action"}),
    # The app's own custom role: it signs in the vault and can take no key out of it.
    "vend signer": frozenset({"certificates/read", "keys/read", "keys/sign/action"}),
}


class RoleAssignments:
    """Which principal holds which roles on the whole vault."""

    def __init__(self) -> None:
        self._held: dict[str, set[str]] = {}

    def assign(self, principal_id: str, role: str) -> None:
        """Give a role; giving it twice changes nothing.

        Raises:
            KeyError: there is no such role.
        """
        if role not in ROLES:
            raise KeyError(role)
        self._held.setdefault(principal_id, set()).add(role)

    def unassign(self, principal_id: str, role: str) -> None:
        """Take a role away; the next request is refused, where Azure needs minutes."""
        self._held.get(principal_id, set()).discard(role)

    def permit(self, principal_id: str, action: str) -> bool:
        """Tell whether one of the principal's roles holds the action (named without the provider's prefix)."""
        return any(fnmatchcase(action, pattern) for role in self._held.get(principal_id, ()) for pattern in ROLES[role])
