"""The callers document that a worker of the app goes by, and the mistakes that the app has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from cli.http import NoAnswer, Secret, json_object, send

OLDER = "The app is older than this command: its readiness does not say which document it goes by."


class Unclear(Exception):
    """Readiness does not say by which document a worker goes.

    Args:
        reason: the sentence for the operator.
        may_pass: whether a later answer can be another one.
    """

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of one worker.

    Args:
        worker: its id.
        in_force: the digest of the document that it goes by; None where it has none.
        newest: the digest of the newest document that it has read, good or not.
        refused: how many entries it refuses, whole or in part.
        generation: of the document that it goes by.
    """

    worker: str
    in_force: str | None
    newest: str | None
    refused: int
    generation: int | None


def read_readiness(app: str, secret: Secret) -> Report:
    """Ask one worker over a new connection.

    Raises:
        Unclear: no worker answered, or its answer does not tell.
    """
    try:
        answer = send(httpx.Request("GET", f"{app}/api/health/ready"), secret=secret)
    except NoAnswer as failure:
        raise Unclear(str(failure), may_pass=failure.may_pass) from None
    body = json_object(answer.content)
    if "correlation_id" not in body:
        raise _not_the_app(answer)
    match body:
        case {
            "worker": str(worker),
            "callers": {
                "in_force": str() | None as in_force,
                "newest": str() | None as newest,
                "refused": int(refused),
                "generation": int() | None as generation,
            },
        }:
            return Report(worker=worker, in_force=in_force, newest=newest, refused=refused, generation=generation)
    raise Unclear(OLDER)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an administrator may know of a worker.

    Args:
        mistakes: of the callers document, each by its key path.
        credentials: by which each profile proves itself; none from an app that is older than this command.
    """

    mistakes: Sequence[str]
    credentials: Sequence[Mapping[str, Any]]


def read_mistakes(app: str, secret: Secret) -> Sequence[str]:
    """Return the app's own mistakes, each by its key path.

    Raises:
        Unclear: the app does not tell them.
    """
    return read_diagnosis(app, secret).mistakes


def read_diagnosis(app: str, secret: Secret) -> Diagnosis:
    """Ask one worker what an administrator may know.

    Raises:
        Unclear: the app does not tell it.
    """
    try:
        answer = send(httpx.Request("GET", f"{app}/api/doctor"), secret=secret)
    except NoAnswer as failure:
        raise Unclear(str(failure)) from None
    body = json_object(answer.content)
    match answer.status_code, body:
        case HTTPStatus.OK, {"mistakes": list(mistakes)} if all(map(_is_mistake, mistakes)):
            credentials = body.get("credentials")
            return Diagnosis(
                [f"{each['at']}: {each['what']}" for each in mistakes],
                [each for each in credentials if isinstance(each, dict)] if isinstance(credentials, list) else [],
            )
        case HTTPStatus.OK, _:
            raise Unclear("/api/doctor answers no list of mistakes")
        case HTTPStatus.FORBIDDEN, {"correlation_id": _}:
            raise Unclear("the caller of --as is no admin")
        case HTTPStatus.UNAUTHORIZED, _:
            raise Unclear("the key of --as is not that of a caller")
    raise Unclear(f"/api/doctor answers {answer.status_code}")


def _is_mistake(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(name), str) for name in ("at", "what"))


def _not_the_app(answer: httpx.Response) -> Unclear:
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return Unclear("The host does not know the key that asks.", may_pass=True)
    may_pass = answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    return Unclear(f"A proxy or gateway in front of the app answers {answer.status_code} from here.", may_pass=may_pass)
