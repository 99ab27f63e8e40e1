"""The app's own identity: the managed identity that App Service gives it.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

from shared.adapters.http import Network
from shared.core.entra.token_answer import LONGEST_LIFE
from shared.core.errors import BadAnswer, OperatorError, Unavailable
from shared.core.origins import Origin, origin_of
from shared.core.reply import Reply, json_object
from shared.core.retry import retry_after
from shared.core.token import AccessToken, Acquired, Clock, TokenSource, Wanted

NAME = "managed identity"
API_VERSION = "2019-08-01"
REFUSALS = (400, 401, 403)

type GetToken = Callable[[str | None], Awaitable[AccessToken]]
"""Returns a token of the app's own for one service, and not the one of this SHA-256, if any."""

_NOT_ASSIGNED = b"No User Assigned or Delegated Managed Identity found"
"""The words of App Service where `client_id` is of an identity that the app does not have."""


class ManagedIdentity:
    """Acquires tokens of one identity of the app.

    It asks App Service's endpoint and no other source: azure-identity would look for one, and has been led to an
    attacker's (CVE-2024-35255). The endpoint is on this host, so it may be http, and no proxy is ever used for it.

    Args:
        client_id: of a user-assigned identity; "" for the system-assigned one.
        environ: the app settings, read at each call.
        network: makes the way to the endpoint.
        clock: both clocks.
    """

    def __init__(self, client_id: str, *, environ: Mapping[str, str], network: Network, clock: Clock) -> None:
        self._client_id = client_id
        self._environ = environ
        self._upstream = network.upstream(NAME, self._is_endpoint, proxied=False)
        self._clock = clock

    async def acquire(self, wanted: Wanted) -> Acquired:
        """Return a token for a scope.

        Raises:
            OperatorError: the app has no such identity.
            UpstreamError: the endpoint failed or could not be reached.
        """
        endpoint, header = self._environ.get("IDENTITY_ENDPOINT"), self._environ.get("IDENTITY_HEADER")
        if not endpoint or not header:
            raise OperatorError(cause=f"{NAME}: the app has none, IDENTITY_ENDPOINT is not set")
        resource = wanted.key.scope.removesuffix("/.default")
        query = {"api-version": API_VERSION, "resource": resource}
        if self._client_id:
            query["client_id"] = self._client_id
        if wanted.rejected:
            # An endpoint that knows it returns another token than the one of this hash; any other ignores it.
            query["token_sha256_to_refresh"] = wanted.rejected
        asked = self._clock()
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        reply = await self._upstream.get(url, headers={"x-identity-header": header})
        secret, expires_on = self._read(reply, resource)
        lifetime = expires_on - asked.wall
        if not 1 <= lifetime <= LONGEST_LIFE:
            raise BadAnswer(cause=f"{NAME}: the life of the token is absurd")
        made = AccessToken(secret, asked, lifetime=lifetime, refresh_after=lifetime / 2)
        return Acquired(made, TokenSource.IDENTITY_PROVIDER)

    def _read(self, reply: Reply, resource: str) -> tuple[str, int]:
        """Return the token and its end, in seconds since the epoch; raise what an answer means that holds none.

        App Service names the resource as it was asked for; an answer that names another is not of this request.
        """
        if reply.status in REFUSALS:
            if _NOT_ASSIGNED in reply.body:
                remedy = "assign the user-assigned identity of identity_client_id to the app, or correct the setting"
                raise OperatorError(cause=f"{NAME}: identity_client_id is not assigned to the app", remedy=remedy)
            raise OperatorError(cause=f"{NAME}: HTTP {reply.status}")
        if reply.status != 200:
            wait = retry_after(reply.headers, now=self._clock().wall)
            raise Unavailable(cause=f"{NAME}: HTTP {reply.status}", upstream_wait=wait)
        answer = json_object(reply.body) or {}
        secret, expires_on = answer.get("access_token"), str(answer.get("expires_on"))
        readable = isinstance(secret, str) and secret.isascii() and secret.isprintable() and secret
        if not readable or not (expires_on.isascii() and expires_on.isdigit() and len(expires_on) < 12):
            raise BadAnswer(cause=f"{NAME}: the answer holds no token")
        if str(answer.get("resource") or resource).rstrip("/") != resource.rstrip("/"):
            raise BadAnswer(cause=f"{NAME}: the token is for another resource")
        return str(secret), int(expires_on)

    def _is_endpoint(self, origin: Origin) -> bool:
        return origin == origin_of(self._environ.get("IDENTITY_ENDPOINT", ""))


async def authorized(send: Callable[[Mapping[str, str]], Awaitable[Reply]], get_token: GetToken) -> Reply:
    """Send a request with a token, and again with another one if the first is rejected: then nothing was done.

    Args:
        send: sends it with these headers.
        get_token: of the service that is asked.

    Raises:
        UpstreamError: there is no answer, or no token.
    """
    token = await get_token(None)
    reply = await send({"authorization": f"Bearer {token.secret}"})
    if reply.status == 401:
        token = await get_token(token.sha256)
        reply = await send({"authorization": f"Bearer {token.secret}"})
    return reply
