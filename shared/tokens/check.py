"""Whether a token can be had, for the list of checks.

It reads what the cache knows already. Only a worker without any usable token asks Entra: through the cache, which asks
once for everybody and remembers a failure.
"""

import asyncio

from shared.core.check import Check, State
from shared.core.errors import ScopeRefused, UpstreamError
from shared.core.token import TokenKey
from shared.tokens.cache import TokenCache

PATIENCE = 10.0
"""Seconds that a check waits for a token; its flight goes on."""


class TokenCheck:
    """The line of the tokens.

    Args:
        tokens: the cache.
        first_key: of the token that is acquired where there is none.
        min_remaining: seconds of life that a token is served with at the least.
    """

    def __init__(self, tokens: TokenCache, *, first_key: TokenKey, min_remaining: float) -> None:
        self._tokens = tokens
        self._first_key = first_key
        self._min_remaining = min_remaining

    async def check(self) -> Check:
        """Return whether a token can be had, by the last attempt for each key."""
        if self.has_none():
            return await self._first_token()
        known = [entry for entry in self._tokens.entries() if self._is_usable(entry.remaining) or entry.is_failing]
        failing = sum(entry.cause is not None for entry in known)
        if not failing:
            return Check("token", State.OK, f"{len(known)} kept, and the last attempt for each went well")
        return Check(
            "token",
            State.DEGRADED,
            f"the last attempt failed for {failing} of {len(known)}",
            "tokens that are kept are served to their last minute; what is not kept cannot be had",
            "the events acquire_failed name the causes and their remedies",
        )

    def has_none(self) -> bool:
        """Return whether no usable token is cached, so that every request waits for a new one."""
        return not any(self._is_usable(entry.remaining) for entry in self._tokens.entries())

    def _is_usable(self, remaining: float) -> bool:
        return remaining >= self._min_remaining

    async def _first_token(self) -> Check:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._tokens.get(self._first_key)
        except TimeoutError:
            return _no_token(f"no answer within {PATIENCE:.0f} s", None)
        except ScopeRefused as error:
            return Check(
                "token",
                State.DEGRADED,
                f"Entra answers, and refuses the first scope of the first profile: {error.public_cause}",
                "whoever asks for this scope is refused; others may be served",
                error.remedy or "correct the scope, or give the app registration a permission on its API",
            )
        except UpstreamError as error:
            return _no_token(error.public_cause, error.remedy)
        return Check("token", State.OK, "one was had")


def _no_token(cause: str, remedy: str | None) -> Check:
    return Check(
        "token",
        State.FAILED,
        f"none can be had: {cause}",
        "every request is answered with an error",
        remedy or "the event acquire_failed says more; where the cause is an outage, it passes with it",
    )
