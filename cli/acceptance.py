"""Waits until a new key opens the app.

The host looks for keys that it does not know once a minute, and vend looks at the document every 15 s.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from cli.http import NoAnswer, send
from cli.screen import say

LONGEST_SECONDS = 90
SECONDS_BETWEEN = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How a command waits."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


def await_acceptance(app: str, key: str, *, patience: Patience) -> str:
    """Wait until a key opens the app; return "" then, else what is known instead."""
    # Without a grant it is refused once the key is known: nothing is vended, and nobody else is asked for anything.
    form = {"grant_type": ""}
    request = httpx.Request("POST", f"{app}/api/token", headers={"x-functions-key": key}, data=form)
    until, told = patience.clock() + LONGEST_SECONDS, ""
    while True:
        try:
            answer = send(request)
        except NoAnswer as failure:
            return str(failure)
        of_app = _is_of_the_app(answer)
        if answer.status_code != HTTPStatus.UNAUTHORIZED:
            return "" if of_app else f"What stands before the app answers {answer.status_code} from here."
        missing = "vend has not read the new document" if of_app else "The host does not know the key"
        if patience.clock() >= until:
            return f"{missing} after {LONGEST_SECONDS} s."
        if told != missing:
            say(f"{missing} yet; waiting for up to {LONGEST_SECONDS} s.", error=True)
            told = missing
        patience.sleep(SECONDS_BETWEEN)


def _is_of_the_app(answer: httpx.Response) -> bool:
    """Tell an answer of the app from one of the host, which has no body."""
    try:
        return "correlation_id" in answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError):
        return False
