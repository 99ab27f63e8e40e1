"""The opaque tokens of next links and delta links."""

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Issued[T]:
    """The meaning of a token, when it was made (epoch seconds), and whether it was revoked since."""

    what: T
    time: float
    revoked: bool = False


class Tokens[T]:
    """Random names for what is kept here: nobody can derive one or change what it stands for."""

    def __init__(self) -> None:
        self._issued: dict[str, Issued[T]] = {}

    def issue(self, what: T, *, now: float) -> str:
        """Make a token."""
        token = secrets.token_urlsafe(48)
        self._issued[token] = Issued(what, now)
        return token

    def find(self, token: str) -> Issued[T] | None:
        """Find a token; it can be used any number of times."""
        return self._issued.get(token)

    def revoke(self) -> None:
        """Revoke every token that was issued."""
        for token, issued in tuple(self._issued.items()):
            self._issued[token] = Issued(issued.what, issued.time, revoked=True)
