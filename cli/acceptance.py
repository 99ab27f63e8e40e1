"""Waits until new keys open the app: the host looks for keys that it does not know once a minute."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from cli.http import Answer, NoAnswer, Question, function_key, json_object, send_all
from cli.patience import Patience
from cli.screen import counted, progress

LONGEST_SECONDS = 90
SECONDS_BETWEEN = 2


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The verdict of an answer about a key: why it does not open the app, or ""; and whether that may change."""

    reason: str
    may_change: bool = False


def await_acceptance(app: str, keys: Mapping[str, str], *, patience: Patience) -> Mapping[str, str]:
    """Wait until keys open the app; return why one is not known to, by its name.

    Args:
        app: its address.
        keys: the keys by the names of their callers.
        patience: how to wait.
    """
    left, unsure = dict(keys), dict[str, str]()
    until = patience.clock() + LONGEST_SECONDS
    with progress() as show:
        while True:
            answers = send_all([_question(app, key) for key in left.values()])
            verdicts = dict(zip(left, map(_verdict, answers), strict=True))
            unsure |= {name: each.reason for name, each in verdicts.items() if each.reason and not each.may_change}
            left = {name: left[name] for name, each in verdicts.items() if each.may_change}
            seconds = until - patience.clock()
            if not left or seconds <= 0:
                late = {name: f"{verdicts[name].reason} It was still so after {LONGEST_SECONDS} s." for name in left}
                return unsure | late
            show(f"Waiting for {counted(len(left), 'key')}, for up to {seconds:.0f} s.")
            patience.sleep(SECONDS_BETWEEN)


def _question(app: str, key: str) -> Question:
    # Without a grant it is refused once the key is known: nothing is vended, and nobody else is asked for anything.
    request = httpx.Request("POST", f"{app}/api/token", data={"grant_type": ""})
    return Question(request, function_key(key, app=app))


def _verdict(answer: Answer) -> _Verdict:
    if isinstance(answer, NoAnswer):
        return _Verdict(str(answer), may_change=answer.may_pass)
    # The host's own answers have no body.
    of_app = "correlation_id" in json_object(answer.content)
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return _Verdict(f"{'vend' if of_app else 'The host'} does not know the key.", may_change=True)
    if of_app:
        # It answers so where it does not know its callers, and has looked for no key.
        return (
            _Verdict(f"vend answers {answer.status_code}.", may_change=True) if answer.is_server_error else _Verdict("")
        )
    may_change = answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    return _Verdict(
        f"A proxy or gateway in front of the app answers {answer.status_code} from here.", may_change=may_change
    )
