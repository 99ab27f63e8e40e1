"""What there is to check, as one list: what was seen, what it means, and what mends it.

Every look is cheap: it reads what the worker knows already. One alone can ask upstream, where the worker has no token
that it could hand out; it asks through the cache, which asks once for everybody and remembers a failure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.callers.live import Standing
from shared.core.errors import Denied, VendError
from shared.core.token import Moment, TokenKey
from shared.tokens.cache import TokenCache

WARN_BEFORE = timedelta(days=30)
"""Of the end of a certificate."""
PATIENCE = 10.0
"""Seconds that a look waits for a token; its flight goes on."""
LOSS_REMEMBERED = 600.0
"""Seconds for which a lost event is a matter."""
LAG = 1.0
"""Seconds by which the event loop may be late."""


class State(StrEnum):
    """What a check comes to."""

    OK = "ok"
    DEGRADED = "degraded"
    """The worker serves, and somebody should look."""
    FAILED = "failed"
    """The worker cannot serve."""


class Check(NamedTuple):
    """One line of the list.

    Args:
        name: of what was looked at.
        state: what it comes to.
        detail: what was seen; for whoever may ask, so it names no id, no address and no thumbprint.
        means: for callers; "" where all is well.
        remedy: what the operator does about it; "" where all is well.
    """

    name: str
    state: State
    detail: str
    means: str = ""
    remedy: str = ""


class Checks:
    """The list of a worker whose settings are good.

    Args:
        callers: looks at the callers document, if that is due.
        tokens: the cache.
        key: of the token that is asked for where there is none.
        floor: seconds of life that a token is served with at the least.
        certificates: tells the ends of those that were read.
        lost: tells how many events got nowhere.
        lag: tells how many seconds the event loop was late.
        clock: both clocks.
    """

    def __init__(
        self,
        *,
        callers: Callable[[], Awaitable[Standing]],
        tokens: TokenCache,
        key: TokenKey,
        floor: float,
        certificates: Callable[[], Iterable[datetime]],
        lost: Callable[[], int],
        lag: Callable[[], float],
        clock: Callable[[], Moment],
    ) -> None:
        self._callers = callers
        self._tokens = tokens
        self._key = key
        self._floor = floor
        self._certificates = certificates
        self._lost = lost
        self._lag = lag
        self._clock = clock
        self._last_loss = (0, 0.0)

    async def look(self) -> list[Check]:
        """Look at everything once."""
        return [
            Check("configuration", State.OK, "vend.toml is good"),
            _callers(await self._callers()),
            await self._token(),
            _certificate(self._certificates(), now=datetime.fromtimestamp(self._clock().wall, UTC)),
            self._events(),
            _event_loop(self._lag()),
        ]

    async def _token(self) -> Check:
        """Tell whether a token can be had, by what became of the last attempts; only without any by another one."""
        kept = [seen for seen in self._tokens.look() if seen.remaining >= self._floor or seen.is_failing]
        if not any(seen.remaining >= self._floor for seen in kept):
            return await self._first_token()
        failing = sum(seen.cause is not None for seen in kept)
        if not failing:
            return Check("token", State.OK, f"{len(kept)} kept, and the last attempt for each went well")
        return Check(
            "token",
            State.DEGRADED,
            f"the last attempt failed for {failing} of {len(kept)}",
            "tokens that are kept are served to their last minute; what is not kept cannot be had",
            "the events acquire_failed name the causes and their remedies",
        )

    async def _first_token(self) -> Check:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._tokens.get(self._key)
        except TimeoutError:
            return _no_token(f"no answer within {PATIENCE:.0f} s", None)
        except Denied as error:
            return Check(
                "token",
                State.DEGRADED,
                f"Entra answers, and refuses the first scope of the first profile: {error.cause}",
                "whoever asks for this scope is refused; others may be served",
                error.remedy or "correct the scope, or give the app registration a permission on its API",
            )
        except VendError as error:
            return _no_token(error.cause, error.remedy)
        return Check("token", State.OK, "one was had")

    def _events(self) -> Check:
        lost, now = self._lost(), self._clock().boot
        if lost != self._last_loss[0]:
            self._last_loss = (lost, now)
        if lost == 0 or now - self._last_loss[1] >= LOSS_REMEMBERED:
            return Check("events", State.OK, f"{lost} lost since this worker began")
        return Check(
            "events",
            State.DEGRADED,
            f"{lost} lost since this worker began, some of them lately",
            "tokens are vended all the same; the audit trail has a gap",
            "see whether Application Insights, or whatever takes the log, is full, slow or misconfigured",
        )


def unconfigured() -> list[Check]:
    """Give the list of a worker whose settings have mistakes: nothing else can be looked at."""
    return [
        Check(
            "configuration",
            State.FAILED,
            "the settings have mistakes",
            "every answer is 503",
            "the event settings_invalid names each mistake; so does ./vend check",
        )
    ]


def _callers(standing: Standing) -> Check:
    if standing.age is None:
        return Check(
            "callers",
            State.FAILED,
            "there is no valid callers document",
            "every answer is 503",
            "the events callers_invalid and callers_unread say why; ./vend check names each mistake",
        )
    seen = f"last found good {standing.age:.0f} s ago"
    if not standing.is_failing:
        return Check("callers", State.OK, seen)
    return Check(
        "callers",
        State.DEGRADED,
        f"{seen}, and the last look failed",
        "that document stays in force for a day: who was added or revoked since then is not",
        "the events callers_invalid and callers_unread say what is wrong",
    )


def _no_token(cause: str, remedy: str | None) -> Check:
    return Check(
        "token",
        State.FAILED,
        f"none can be had: {cause}",
        "every request is answered with an error",
        remedy or "the event acquire_failed says more; where the cause is an outage, it passes with it",
    )


def _certificate(ends: Iterable[datetime], *, now: datetime) -> Check:
    end = min(ends, default=None)
    if end is None:
        return Check(
            "certificate",
            State.DEGRADED,
            "not read yet",
            "until the vault has been read nothing can be signed",
            "see the check named token",
        )
    seen = f"ends on {end:%Y-%m-%d}"
    if end - now > WARN_BEFORE:
        return Check("certificate", State.OK, seen)
    return Check(
        "certificate",
        State.DEGRADED,
        f"{seen}, in {max(0, (end - now).days)} days",
        "from then on no token can be had",
        "make a new version and its public part known to Entra: docs/deployment.md, steps 3 and 4",
    )


def _event_loop(late: float) -> Check:
    seen = f"{late:.1f} s late at the most, within the last minute"
    if late < LAG:
        return Check("event_loop", State.OK, seen)
    return Check(
        "event_loop",
        State.DEGRADED,
        seen,
        "every request of this worker waits as long",
        "look for what else takes its processor; more instances help where there are too many requests",
    )
