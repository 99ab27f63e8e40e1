"""The app's own identity: the managed identity that App Service gives it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.core.errors import OperatorError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

CONNECT_SECONDS = 2
READ_SECONDS = 5


def own_identity(client_id: str, *, environ: Mapping[str, str]) -> "TokenCredential":
    """Make the credential of the managed identity.

    It talks to App Service's endpoint and to no other source: azure-identity would else go looking for one, and has
    been led to an attacker's (CVE-2024-35255). The endpoint is on this host, so no proxy is ever used for it.

    Args:
        client_id: of a user-assigned identity; "" for the system-assigned one.
        environ: the app settings.

    Raises:
        OperatorError: the app has no managed identity.
    """
    if not environ.get("IDENTITY_ENDPOINT") or not environ.get("IDENTITY_HEADER"):
        raise OperatorError(cause="the app has no managed identity: IDENTITY_ENDPOINT is not set")
    # Imported late: it takes longer to import than everything else together.
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415

    options: dict[str, Any] = {
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "use_env_settings": False,
        "retry_total": 2,
        "retry_backoff_factor": 0.5,
    }
    return ManagedIdentityCredential(client_id=client_id or None, **options)
