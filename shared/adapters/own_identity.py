"""The app's own identity: the managed identity that App Service gives it."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.core.errors import OperatorError, Unavailable, VendError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo
    from azure.core.pipeline import PipelineResponse
    from azure.identity import ManagedIdentityCredential

CONNECT_SECONDS = 2
READ_SECONDS = 5
REFUSALS = (400, 401, 403)


class OwnIdentity:
    """The managed identity as a credential for the Azure SDKs, with errors that are ours.

    It talks to App Service's endpoint and to no other source: azure-identity would else go looking for one, and has
    been led to an attacker's (CVE-2024-35255). The endpoint is on this host, so no proxy is ever used for it.

    Args:
        client_id: of a user-assigned identity; "" for the system-assigned one.
        environ: the app settings.
    """

    def __init__(self, client_id: str, *, environ: Mapping[str, str]) -> None:
        self._client_id = client_id
        self._environ = environ
        self._status: int | None = None

    def get_token(self, *scopes: str, **options: Any) -> "AccessToken":  # noqa: ANN401  # the SDK's protocol
        """Give a token of the app's own.

        Raises:
            OperatorError: the app has no such identity.
            Unavailable: its endpoint failed or could not be reached.
        """
        token: AccessToken = self._translated(lambda: self._credential.get_token(*scopes, **options))
        return token

    def get_token_info(self, *scopes: str, options: Any = None) -> "AccessTokenInfo":  # noqa: ANN401  # as above
        """Give a token of the app's own in the SDK's newer form; errors as in `get_token`."""
        token: AccessTokenInfo = self._translated(lambda: self._credential.get_token_info(*scopes, options=options))
        return token

    @cached_property
    def _credential(self) -> "ManagedIdentityCredential":
        if not self._environ.get("IDENTITY_ENDPOINT") or not self._environ.get("IDENTITY_HEADER"):
            raise OperatorError(cause="the app has no managed identity: IDENTITY_ENDPOINT is not set")
        # Imported late: it takes longer to import than everything else together.
        from azure.identity import ManagedIdentityCredential  # noqa: PLC0415

        return ManagedIdentityCredential(
            client_id=self._client_id or None,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            use_env_settings=False,
            retry_total=2,
            retry_backoff_factor=0.5,
            raw_response_hook=self._saw,
        )

    def _saw(self, response: "PipelineResponse[Any, Any]") -> None:
        """Remember how the endpoint answered: azure-identity's errors tell it in prose alone.

        MSAL repeats a failure from its own memory, for 5 s to 60 s, without asking again; then the last answer is what
        it repeats.
        """
        self._status = response.http_response.status_code

    def _translated(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401  # azure-identity declares no more
        try:
            return ask()
        except VendError:
            raise
        except Exception:  # noqa: BLE001  # not only the SDK's: its parser's go through, with the whole answer in them
            failure: VendError = Unavailable(cause="the managed identity cannot be had now")
            if self._status in REFUSALS:
                failure = OperatorError(cause=f"the managed identity refused with {self._status}")
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure
