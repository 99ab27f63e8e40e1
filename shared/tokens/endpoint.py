"""Entra's token endpoint: one request for a token, and what its answer means."""

from collections.abc import Awaitable, Mapping
from typing import Protocol

from shared.core.entra.clouds import Cloud
from shared.core.entra.refusal import clock_difference, refusal
from shared.core.entra.token_answer import read_token
from shared.core.entra.token_request import token_request
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, TokenKey
from shared.credentials.credential import Proof
from shared.system import System
from shared.telemetry import catalogue
from shared.telemetry.events import Events

CLOCK_TOLERANCE = 120
"""Seconds that our wall clock and Entra's may differ without an event; beyond some five minutes assertions fail."""


class Post(Protocol):
    """Sends a form to Entra."""

    def __call__(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Awaitable[Reply]:
        """Return the answer; raise an `UpstreamError` where none comes."""


class TokenEndpoint:
    """The token endpoints of one cloud.

    Args:
        cloud: whose Entra is asked.
        post: sends a form.
        limits: the knobs.
        system: clocks, and chance, which spreads the refreshes of tokens.
        events: where a difference of the clocks is reported.
    """

    def __init__(self, *, cloud: Cloud, post: Post, limits: Limits, system: System, events: Events) -> None:
        self._cloud = cloud
        self._post = post
        self._limits = limits
        self._system = system
        self._events = events

    async def ask(
        self,
        key: TokenKey,
        proof: Proof,
        *,
        client_id: str,
        request_id: str,
        claims: str | None = None,
        region: str = "",
    ) -> AccessToken:
        """Return a token that Entra has just issued.

        Args:
            key: profile, tenant and scope.
            proof: of the client.
            client_id: of the client.
            request_id: by which Entra's log names the request.
            claims: canonical JSON, or None.
            region: whose endpoint is asked; "" for the global one.

        Raises:
            UpstreamError: Entra refuses, or gives no answer.
        """
        form = token_request(client_id=client_id, scope=key.scope, proof=proof.fields, claims=claims)
        asked = self._system.clock()
        endpoint = self._cloud.token_endpoint(key.tenant_id, region=region)
        reply = await self._post(endpoint, form, headers={"client-request-id": request_id})
        now = self._system.clock()
        # As the wall clock was when the request left: somebody may have set it since.
        ahead = clock_difference(reply.headers, now=asked.wall + now.boot - asked.boot)
        if ahead is not None and abs(ahead) > CLOCK_TOLERANCE:
            self._events.defer(catalogue.ClockDiffers(profile=key.profile, seconds=round(ahead)))
        if reply.status != 200:
            raise refusal(reply.status, reply.headers, reply.body, now=now.wall)
        spread = self._limits.refresh_fraction_max - self._limits.refresh_fraction_min
        return read_token(
            reply.body,
            asked=asked,
            fraction=self._limits.refresh_fraction_min + self._system.chance() * spread,
            tenant_id=key.tenant_id,
            client_id=client_id,
            clock_ahead=ahead or 0.0,
        )
