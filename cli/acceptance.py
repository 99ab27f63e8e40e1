"""Waits until a new key opens the app: the host looks for keys that it does not know once a minute."""

import json
from http import HTTPStatus

import httpx

from cli.http import NoAnswer, function_key, send
from cli.patience import Patience
from cli.screen import progress

LONGEST_SECONDS = 90
SECONDS_BETWEEN = 2


def await_acceptance(app: str, key: str, *, patience: Patience) -> str:
    """Wait until a key opens the app; return "" then, else what is known instead."""
    # Without a grant it is refused once the key is known: nothing is vended, and nobody else is asked for anything.
    request = httpx.Request("POST", f"{app}/api/token", data={"grant_type": ""})
    until = patience.clock() + LONGEST_SECONDS
    with progress() as show:
        while True:
            try:
                answer = send(request, secret=function_key(key, app=app))
            except NoAnswer as failure:
                return str(failure)
            of_app = _is_of_the_app(answer)
            if answer.status_code != HTTPStatus.UNAUTHORIZED:
                return "" if of_app else f"What stands before the app answers {answer.status_code} from here."
            missing = "vend does not know the key" if of_app else "The host does not know the key"
            left = until - patience.clock()
            if left <= 0:
                return f"{missing} after {LONGEST_SECONDS} s."
            show(f"{missing} yet; waiting for up to {left:.0f} s.")
            patience.sleep(SECONDS_BETWEEN)


def _is_of_the_app(answer: httpx.Response) -> bool:
    """Return whether an answer is that of the app: the host's own has no body."""
    try:
        return "correlation_id" in answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError):
        return False
