"""`[[profiles.NAME.credentials]]` of vend.toml: each kind of credential, and what it may say."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from shared.core.names import is_guid
from shared.core.origins import is_bare_https
from shared.core.rules import breaks, is_whole

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class Signing(StrEnum):
    """Where a client assertion is signed."""

    VAULT = "vault"
    """In Key Vault: the private key never leaves it."""
    LOCAL = "local"
    """In this worker, which reads the exportable key of a certificate once for each version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """A credential with `type = "certificate"`: a certificate in Key Vault."""

    type: ClassVar[str] = "certificate"
    vault: str
    name: str
    signing: Signing = Signing.VAULT
    send_x5c: bool = False

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        return _vault_mistakes(self.vault, self.name, at=at, what="certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedSettings:
    """A credential with `type = "federated_managed_identity"`: a user-assigned identity of the app."""

    type: ClassVar[str] = "federated_managed_identity"
    identity_client_id: str

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        fault = f"{at}.identity_client_id: must be the client ID of a user-assigned managed identity, a GUID"
        return [fault] if breaks(is_guid, self.identity_client_id) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings:
    """A credential with `type = "secret"`: a client secret, in Key Vault or in an app setting."""

    type: ClassVar[str] = "secret"
    vault: str = ""
    name: str = ""
    value: str = field(default="", repr=False)

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        if not is_whole(self) or (self.value and not (self.vault or self.name)):
            return []
        if self.value or not (self.vault and self.name):
            return [f"{at}: must have either vault and name, or value"]
        return _vault_mistakes(self.vault, self.name, at=at, what="secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFileSettings:
    """A credential with `type = "certificate_file"`: a certificate and its key in a PEM or PFX file."""

    type: ClassVar[str] = "certificate_file"
    path: str
    password: str = field(default="", repr=False)
    send_x5c: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionFileSettings:
    """A credential with `type = "assertion_file"`: a federated assertion in a file that somebody keeps fresh."""

    type: ClassVar[str] = "assertion_file"
    path: str


type CredentialSettings = (
    CertificateSettings | FederatedSettings | SecretSettings | CertificateFileSettings | AssertionFileSettings
)
"""One entry of `[[profiles.NAME.credentials]]`; the key `type` chooses its kind."""


def _vault_mistakes(vault: str, name: str, *, at: str, what: str) -> list[str]:
    found = [f"{at}.vault: must be an https URL without a path"] if breaks(is_bare_https, vault) else []
    if breaks(_NAME.fullmatch, name):
        found.append(f"{at}.name: is not the name of a {what} in Key Vault")
    return found
