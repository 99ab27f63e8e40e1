"""The roles of the local vault: Azure's, as sets of data actions.

The built-in roles hold what https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security lists.
"""

from collections.abc import Mapping

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
    "vend signer": frozenset({"certificates/read", "keys/sign/action"}),
}
