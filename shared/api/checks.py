"""The list of checks of a worker: which there are, and their order. Each part of the app brings its own."""

from collections.abc import Awaitable, Callable, Sequence

from shared.core.check import Check, State

type Look = Callable[[], Awaitable[Check]]


class Checks:
    """The list of a worker whose settings are good; in the order of the arguments, the configuration first."""

    def __init__(
        self,
        *,
        callers: Look,
        token: Look,
        identity: Look,
        certificate: Look,
        directory: Look,
        events: Look,
        event_loop: Look,
    ) -> None:
        # The identity comes after the two that may need it.
        self._looks = (_configuration, callers, token, identity, certificate, directory, events, event_loop)

    async def look(self) -> Sequence[Check]:
        """Run every check once."""
        return [await look() for look in self._looks]


async def unconfigured() -> Sequence[Check]:
    """Return the list of a worker whose settings have mistakes: nothing else can be checked."""
    return [
        Check(
            "configuration",
            State.FAILED,
            "the settings have mistakes",
            "every answer is 503",
            "the event settings_invalid names each mistake; so does ./vend check",
        )
    ]


async def _configuration() -> Check:
    return Check("configuration", State.OK, "vend.toml is good")
