"""Waits until the app goes by a change of the callers document, and says so only if every worker seen does.

A worker reads the document at the latest 30 s after the last time, and waits 2 s for it. So after 32 s a worker that
answers has read it, or cannot. Each of 20 new connections can meet another worker. The change is there if each answer
names the digest of the document as it lies now, and that document contains the change: another operator may have
written meanwhile.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cli.http import Secret
from cli.patience import Patience
from cli.readiness import Report, Unclear, read_readiness
from cli.screen import progress

ANSWERS = 20
LONGEST_SECONDS = 90
SECONDS_BETWEEN = 2
DIGEST_DIGITS = 12


class NotInForce(Exception):
    """Not every worker goes by the change, or it is not known; the text gives the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """The document as it lies in its place now.

    Args:
        content: its bytes; None where there is none.
        has_change: whether it contains the change.
    """

    content: bytes | None
    has_change: bool

    @property
    def digest(self) -> str:
        """By which a worker names this document."""
        return hashlib.sha256(self.content or b"").hexdigest()[:DIGEST_DIGITS]


def survey(app: str, secret: Secret) -> list[Report]:
    """Ask as many workers as answer on new connections.

    Raises:
        Unclear: an answer does not tell.
    """
    return [read_readiness(app, secret) for _ in range(ANSWERS)]


def await_in_force(
    app: str, secret: Secret, lying: Callable[[], Lying], *, settled: float, patience: Patience
) -> list[Report]:
    """Wait until every worker seen goes by a change, and return what the workers said.

    Args:
        app: its address.
        secret: opens its readiness.
        lying: reads the document in its place.
        settled: seconds from now on before which another worker may not have read it.
        patience: how to wait.

    Raises:
        NotInForce: with the reason.
    """
    began = patience.clock()
    _first(app, secret)
    with progress() as show:
        while (left := began + settled - patience.clock()) > 0:
            show(f"Written. For {left:.0f} s more a worker may not have read it.")
            patience.sleep(min(left, 1))
        while True:
            try:
                return _round(app, secret, lying())
            except (_Refused, Unclear, NotInForce) as failure:
                waited = patience.clock() - began
                # A worker that is just reading it names it as its newest, too.
                is_final = isinstance(failure, _Refused) and waited >= max(settled, SECONDS_BETWEEN)
                if is_final or waited >= LONGEST_SECONDS:
                    raise NotInForce(str(failure)) from None
                show(str(failure))
                patience.sleep(SECONDS_BETWEEN)


class _Refused(Exception):
    """A worker has read the document and does not take it."""


def _first(app: str, secret: Secret) -> None:
    """Ask once, so that an app that is away, or older, is told at once."""
    try:
        read_readiness(app, secret)
    except Unclear as failure:
        if not failure.may_pass:
            raise NotInForce(str(failure)) from None


def _round(app: str, secret: Secret, lying: Lying) -> list[Report]:
    if not lying.has_change:
        raise NotInForce("The document does not have the change any more: somebody else has written it.")
    reports = []
    for _ in range(ANSWERS):
        report = read_readiness(app, secret)
        if report.in_force != lying.digest:
            raise _another_document(report, lying)
        reports.append(report)
    return reports


def _another_document(report: Report, lying: Lying) -> Exception:
    if report.newest == lying.digest:
        goes_on = "goes on by an older one" if report.in_force else "serves nobody"
        return _Refused(f"Worker {report.worker} refuses the document, and {goes_on}.")
    if report.in_force is None:
        return NotInForce(f"Worker {report.worker} has no callers document.")
    return NotInForce(f"Worker {report.worker} has not read the document, and goes on by another one.")
