"""The Microsoft clouds: where the services of each are.

https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.core.origins import Origin, origin_of

STORAGE_SCOPE = "https://storage.azure.com/.default"
"""Of a token for Azure Storage, in every cloud."""

_PUBLIC_VAULTS = "vault.azure.net"
_TOKEN_DOMAIN = "which its token is for: set verify_vault_challenge = false for a vault on this machine"
_PRIVATE_LINK = "is a private-link name: use the public one, which the private DNS zone resolves"
_REGIONAL_HOSTS = {"login.microsoftonline.com": "login.microsoft.com"}
"""The public cloud's regions have a domain of their own; everywhere else they stand before the host."""
_ZONES = r"z[0-9]{1,2}\.blob\.storage\.azure\.net"
"""Storage accounts in Azure DNS zones.

https://learn.microsoft.com/azure/storage/common/storage-account-overview#azure-dns-zone-endpoints
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One Microsoft cloud.

    Args:
        authority, graph, management: origins of Entra, Microsoft Graph and Azure Resource Manager.
        token_exchange_audience: of the tokens that a federated credential takes.
        blob, vault: what may receive a token for storage or for Key Vault: a domain below which each account or vault
            has its name, or one https origin.
        database: the domain below which PostgreSQL servers have their names, or one host.
        database_audience: of the tokens that a PostgreSQL server takes.
        verify_vault_challenge: whether a vault must have the domain that its token is for.
    """

    authority: str
    graph: str
    management: str
    token_exchange_audience: str
    blob: str
    vault: str
    database: str
    verify_vault_challenge: bool
    database_audience: str = "https://ossrdbms-aad.database.windows.net"

    def token_endpoint(self, tenant_id: str, *, region: str = "") -> str:
        """Return the URL that answers for a tenant; without a region it is also the audience of an assertion.

        https://learn.microsoft.com/entra/msal/dotnet/how-to/regional-authorities
        """
        return f"https://{self._entra_host(region)}/{tenant_id}/oauth2/v2.0/token"

    def entra_origins(self, *regions: str) -> frozenset[Origin]:
        """Return where Entra may be asked: at its global endpoint, and at those of some regions."""
        urls = (f"https://{self._entra_host(region)}" for region in ("", *regions))
        return frozenset(origin for url in urls if (origin := origin_of(url)))

    @property
    def graph_scope(self) -> str:
        """The scope of a token for Microsoft Graph."""
        return f"{self.graph.removesuffix('/')}/.default"

    @property
    def vault_scope(self) -> str:
        """The scope of a token for Key Vault."""
        return f"https://{_PUBLIC_VAULTS}/.default" if "://" in self.vault else f"https://{self.vault}/.default"

    @property
    def database_scope(self) -> str:
        """The scope of a token for a PostgreSQL server."""
        return f"{self.database_audience.removesuffix('/')}/.default"

    def database_fault(self, host: str) -> str:
        """Return why a host is no PostgreSQL server of this cloud; "" where it is one."""
        if ".privatelink." in host:
            return _PRIVATE_LINK
        # A server in a network has one more label, that of its private zone.
        is_there = re.fullmatch(rf"[a-z0-9-]{{3,63}}(\.[a-z0-9-]+)?\.{re.escape(self.database)}", host)
        return "" if is_there or host == self.database else "is not in the cloud's database domain"

    def vault_fault(self, url: str) -> str:
        """Return why a URL is no vault of this cloud; "" where it is one."""
        origin = origin_of(url)
        if origin is not None and ".managedhsm." in origin.host:
            return "is a Managed HSM, which vend does not use"
        fault = _fault(origin, self.vault, r"[a-z0-9-]{3,24}", of="the cloud's vault domain")
        # An address that is named alone has no domain of its own; its token is the public cloud's.
        if fault or origin is None or "://" not in self.vault or not self.verify_vault_challenge:
            return fault
        return "" if origin.host.endswith(f".{_PUBLIC_VAULTS}") else f"is outside of {_PUBLIC_VAULTS}, {_TOKEN_DOMAIN}"

    def blob_fault(self, url: str) -> str:
        """Return why a URL is no blob of this cloud; "" where it is one."""
        return _fault(origin_of(url), self.blob, r"[a-z0-9]{3,24}", of="the cloud's storage domain", zones=_ZONES)

    def _entra_host(self, region: str) -> str:
        host = self.authority.partition("://")[2].removesuffix("/").lower()
        return f"{region}.{_REGIONAL_HOSTS.get(host, host)}" if region else host


def _fault(origin: Origin | None, home: str, name: str, *, of: str, zones: str = "(?!)") -> str:
    """Return why an origin does not lie in a domain, where each has a name of its own, or is not one origin."""
    if origin is None or origin.scheme != "https":
        return "is no https URL"
    if "://" in home:
        return "" if origin == origin_of(home) else f"is not in {of}"
    if ".privatelink." in origin.host:
        return _PRIVATE_LINK
    if origin.port == 443 and re.fullmatch(rf"{name}\.({re.escape(home)}|{zones})", origin.host):
        return ""
    return f"is not in {of}"


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        "public": Cloud(
            authority="https://login.microsoftonline.com",
            graph="https://graph.microsoft.com",
            management="https://management.azure.com",
            token_exchange_audience="api://AzureADTokenExchange",
            blob="blob.core.windows.net",
            vault="vault.azure.net",
            database="postgres.database.azure.com",
            verify_vault_challenge=True,
        ),
        "usgov": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            blob="blob.core.usgovcloudapi.net",
            vault="vault.usgovcloudapi.net",
            database="postgres.database.usgovcloudapi.net",
            verify_vault_challenge=True,
            database_audience="https://ossrdbms-aad.database.usgovcloudapi.net",
        ),
        "usgov-dod": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://dod-graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            blob="blob.core.usgovcloudapi.net",
            vault="vault.usgovcloudapi.net",
            database="postgres.database.usgovcloudapi.net",
            verify_vault_challenge=True,
            database_audience="https://ossrdbms-aad.database.usgovcloudapi.net",
        ),
        "china": Cloud(
            authority="https://login.partner.microsoftonline.cn",
            graph="https://microsoftgraph.chinacloudapi.cn",
            management="https://management.chinacloudapi.cn",
            token_exchange_audience="api://AzureADTokenExchangeChina",
            blob="blob.core.chinacloudapi.cn",
            vault="vault.azure.cn",
            database="postgres.database.chinacloudapi.cn",
            verify_vault_challenge=True,
            database_audience="https://ossrdbms-aad.database.chinacloudapi.cn",
        ),
    }
)
