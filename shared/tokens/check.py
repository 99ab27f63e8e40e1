"""Whether a token can be had, for the list of checks.

It reads what the cache knows already. Only a worker without any usable token asks Entra: through the cache, which asks
once for everybody and remembers a failure. Where one token cannot be had, another one is asked for: a mistake in one
profile, or a tenant that has left, says nothing of the others.
"""

import asyncio
from collections.abc import Sequence

from shared.core.check import Check, State
from shared.core.errors import ScopeRefused, UpstreamError
from shared.core.token import TokenKey
from shared.tokens.cache import TokenCache

PATIENCE = 10.0
"""Seconds that a check waits for tokens; their flights go on."""

CAUSES = 3
"""How many causes one line has: there may be as many as profiles, tenants and scopes."""


class TokenCheck:
    """The line of the tokens.

    Args:
        tokens: the cache.
        first_keys: where there is no token, one of these is acquired: the first that can be had.
        min_remaining: seconds of life that a token is served with at the least.
    """

    def __init__(self, tokens: TokenCache, *, first_keys: Sequence[TokenKey], min_remaining: float) -> None:
        self._tokens = tokens
        self._first_keys = first_keys
        self._min_remaining = min_remaining

    async def check(self) -> Check:
        """Return whether a token can be had, by the last attempt for each key."""
        return await self._first_token() if self.has_none() else self._kept()

    def has_none(self) -> bool:
        """Return whether no usable token is cached, so that every request waits for a new one."""
        return not any(self._is_usable(entry.remaining) for entry in self._tokens.entries())

    def _is_usable(self, remaining: float) -> bool:
        return remaining >= self._min_remaining

    def _kept(self) -> Check:
        known = [entry for entry in self._tokens.entries() if self._is_usable(entry.remaining) or entry.is_failing]
        causes = [entry.cause for entry in known if entry.cause is not None]
        if not causes:
            return Check("token", State.OK, f"{len(known)} kept, and the last attempt for each went well")
        return Check(
            "token",
            State.DEGRADED,
            f"the last attempt failed for {len(causes)} of {len(known)}: {_named(causes)}",
            "tokens that are kept are served to their last minute; what is not kept cannot be had",
            "the events acquire_failed name the causes and their remedies",
        )

    async def _first_token(self) -> Check:
        errors: list[UpstreamError] = []
        now = asyncio.get_running_loop().time
        until = now() + PATIENCE
        for key in self._first_keys:
            left = until - now()
            share = left if key == self._first_keys[-1] else left / 2
            try:
                async with asyncio.timeout(share):
                    await self._tokens.get(key)
            except TimeoutError:
                continue
            except UpstreamError as error:
                errors.append(error)
            else:
                return self._kept() if errors else Check("token", State.OK, "one was had")
        return _none_of(errors)


def _named(causes: Sequence[str]) -> str:
    """Return the causes, each once, and `CAUSES` of them at the most."""
    different = sorted(set(causes))
    return ", ".join(different[:CAUSES]) + (", and others" if len(different) > CAUSES else "")


def _none_of(errors: Sequence[UpstreamError]) -> Check:
    """Return what the failures mean, where no token was had; one that took too long is none of them."""
    refused = next((error for error in errors if isinstance(error, ScopeRefused)), None)
    if refused:
        return Check(
            "token",
            State.DEGRADED,
            f"Entra answers, and refuses the scope that it was asked for: {refused.public_cause}",
            "whoever asks for this scope is refused; others may be served",
            refused.remedy or "correct the scope, or give the app registration a permission on its API",
        )
    if errors:
        return _no_token(errors[0].public_cause, errors[0].remedy)
    return _no_token(f"no answer within {PATIENCE:.0f} s", None)


def _no_token(cause: str, remedy: str | None) -> Check:
    return Check(
        "token",
        State.FAILED,
        f"none can be had: {cause}",
        "every request is answered with an error",
        remedy or "see the event with this cause: acquire_failed passes with an outage; a security_ event is an alarm",
    )
