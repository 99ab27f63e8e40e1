"""Administrators: callers with `admin = true`, who may ask about the app itself and run its jobs."""

from collections.abc import Awaitable
from typing import Protocol

from shared.core.errors import NotAdmin
from shared.core.policy import Caller
from shared.core.request import Incoming, key_in_header


class Administrators(Protocol):
    """The callers, of whom some are administrators."""

    def revalidate(self, now: float) -> Awaitable[None] | None:
        """Return what must be awaited before a caller is identified, or None; `now` is by the boot clock."""

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Return the caller of a key; raise `UnknownCaller` where there is none, `NotReady` where it is not known."""


async def admit(incoming: Incoming, callers: Administrators, *, now: float) -> Caller:
    """Return the administrator who sent a request, by its function key.

    Args:
        incoming: the request; the host has checked its key.
        callers: who may be meant.
        now: by the boot clock.

    Raises:
        UnknownCaller: no caller has the key.
        NotAdmin: the caller is no administrator.
        NotReady: the worker does not know the callers.
    """
    key = key_in_header(incoming.headers, "x-functions-key")
    if (checked := callers.revalidate(now)) is not None:
        await checked
    caller = callers.identify(key, host_checked=True)
    if not caller.admin:
        raise NotAdmin
    return caller
