"""Whether the app's own identity has the tokens that this worker needs, for the list of checks.

It reads what is cached and asks for nothing: a probe must not be a reason to ask the identity's endpoint.
"""

from collections.abc import Callable, Mapping

from shared.core.check import Check, State
from shared.tokens.cache import TokenCache


class IdentityCheck:
    """The check of the app's own identity.

    Args:
        tokens: the cache of its tokens.
        is_needed: by scope, returns whether the worker cannot serve now without a token of this scope.
        min_remaining: seconds of life that a token is used with at the least.
    """

    def __init__(
        self, tokens: TokenCache, *, is_needed: Mapping[str, Callable[[], bool]], min_remaining: float
    ) -> None:
        self._tokens = tokens
        self._is_needed = is_needed
        self._min_remaining = min_remaining

    async def check(self) -> Check:
        """Return the state of the tokens, by the last attempt for each scope."""
        entries = self._tokens.entries()
        kept = {entry.key.scope for entry in entries if entry.remaining >= self._min_remaining}
        causes = {entry.key.scope: entry.cause for entry in entries if entry.cause is not None}
        if not causes:
            what = f"{len(kept)} kept, and the last attempt for each went well" if kept else "no token was needed yet"
            return Check("identity", State.OK, what)
        seen = ", ".join(sorted(set(causes.values())))
        remedy = "the event identity_failed names the scope, the cause and the remedy"
        if any(self._is_needed[scope]() for scope in causes.keys() - kept):
            return Check(
                "identity",
                State.FAILED,
                f"a token is needed, and none can be had: {seen}",
                "without it Key Vault does not sign, or the callers document cannot be read",
                remedy,
            )
        return Check(
            "identity",
            State.DEGRADED,
            f"the last attempt failed: {seen}",
            "what is cached is served; new tokens end with what the app keeps of its own",
            remedy,
        )
