"""The Microsoft clouds: where the services of each are.

https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_REGIONAL_HOSTS = {"login.microsoftonline.com": "login.microsoft.com"}
"""The public cloud's regions have a domain of their own; everywhere else they stand before the host."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """One Microsoft cloud: the origins of its services."""

    authority: str
    graph: str
    management: str
    token_exchange_audience: str
    verify_vault_challenge: bool

    def token_endpoint(self, tenant_id: str, *, region: str = "") -> str:
        """Name the URL that answers for a tenant; without a region it is also the audience of an assertion.

        https://learn.microsoft.com/entra/msal/dotnet/how-to/regional-authorities
        """
        host = self.authority.removeprefix("https://")
        if region:
            host = f"{region}.{_REGIONAL_HOSTS.get(host, host)}"
        return f"https://{host}/{tenant_id}/oauth2/v2.0/token"


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        "public": Cloud(
            authority="https://login.microsoftonline.com",
            graph="https://graph.microsoft.com",
            management="https://management.azure.com",
            token_exchange_audience="api://AzureADTokenExchange",
            verify_vault_challenge=True,
        ),
        "usgov": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            verify_vault_challenge=True,
        ),
        "usgov-dod": Cloud(
            authority="https://login.microsoftonline.us",
            graph="https://dod-graph.microsoft.us",
            management="https://management.usgovcloudapi.net",
            token_exchange_audience="api://AzureADTokenExchangeUSGov",
            verify_vault_challenge=True,
        ),
        "china": Cloud(
            authority="https://login.partner.microsoftonline.cn",
            graph="https://microsoftgraph.chinacloudapi.cn",
            management="https://management.chinacloudapi.cn",
            token_exchange_audience="api://AzureADTokenExchangeChina",
            verify_vault_challenge=True,
        ),
    }
)
