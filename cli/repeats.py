"""Repeats for a minute what a service may do a little later, and says what is waited for.

A request whose answer is lost may have had its effect, whatever the answer to its repeat is. So only requests are
repeated that may be repeated: a caller of this module gets every answer, and looks at what is there now, before it says
what happened.
"""

from collections.abc import Callable, Sequence

from cli.http import Answer, NoAnswer, Question, send_all
from cli.patience import Patience
from cli.screen import progress, say
from shared.core.retry import retry_after

LONGEST_SECONDS = 60.0
SECONDS_BETWEEN = 5.0


def exchange(
    questions: Sequence[Question], *, passing: Callable[[Answer], str], patience: Patience, ca_file: str
) -> list[list[Answer]]:
    """Send requests side by side, and those that fail for now again, one at a time.

    Args:
        questions: the requests.
        passing: returns why a failure may pass, as a sentence; "" where it does not, and where there is none.
        patience: how to wait.
        ca_file: roots beside those that are trusted anyway.

    Returns:
        The answers to each request, the last one last.
    """
    until = patience.clock() + LONGEST_SECONDS
    answers = [[answer] for answer in send_all(questions, ca_file=ca_file)]
    told: set[str] = set()
    while late := [index for index, answer in enumerate(answers) if passing(answer[-1])]:
        wait = max(wait_named(answers[index][-1], patience) or SECONDS_BETWEEN for index in late)
        left = until - patience.clock()
        if wait > left:
            break
        reason = passing(answers[late[0]][-1])
        if reason not in told:
            say(f"{reason} Repeated for up to {left:.0f} s.", error=True)
            told.add(reason)
        with progress() as show:
            show(f"{reason} Next try in {wait:.0f} s.")
            patience.sleep(wait)
        for index in late:
            answers[index] += send_all([questions[index]], ca_file=ca_file)
            if patience.clock() >= until:
                break
    return answers


def wait_named(answer: Answer, patience: Patience) -> float | None:
    """Return the seconds after which a service wants to be asked again; None where it names none."""
    if isinstance(answer, NoAnswer):
        return None
    named = retry_after(answer.headers, now=patience.now())
    return named.total_seconds() if named else None
