"""Waits until the host lets a new key in: it remembers the keys that it knows, and looks for others once a minute."""

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
    """Wait until the host accepts a key; return "" then, else what is known instead."""
    # The app refuses this form before it looks at the key: nothing is decided, and nothing is counted.
    request = httpx.Request("POST", f"{app}/api/token", headers={"x-functions-key": key})
    until, told = patience.clock() + LONGEST_SECONDS, False
    while True:
        try:
            answer = send(request)
        except NoAnswer as failure:
            return str(failure)
        if _is_of_the_app(answer):
            return ""
        if answer.status_code != HTTPStatus.UNAUTHORIZED:
            return f"What stands before the app answers {answer.status_code} from here."
        if patience.clock() >= until:
            return f"The host has not accepted it within {LONGEST_SECONDS} s."
        if not told:
            say(f"The host does not know the key yet; waiting for up to {LONGEST_SECONDS} s.", error=True)
            told = True
        patience.sleep(SECONDS_BETWEEN)


def _is_of_the_app(answer: httpx.Response) -> bool:
    """Tell an answer of the app from one of the host, which has no body."""
    try:
        return "correlation_id" in answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError):
        return False
