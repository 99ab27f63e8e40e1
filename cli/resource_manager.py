"""The host keys of a function app in Azure, by Azure Resource Manager and the operator's own login.

The host reads its keys, changes one and writes all, and it swallows a failure to write. Of two changes at once, one can
so be lost although both are answered as done. So after a change the keys are listed, and what is not as it should be is
done once more, one at a time. An instance of the host may list keys from its memory: that costs a repeat, no more.
Sources: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret; SecretManager and
BlobStorageSecretsRepository of https://github.com/Azure/azure-functions-host.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from cli.http import AT_ONCE, Answer, NoAnswer, Question, bearer, json_object, send_all
from cli.keys import key_digest
from cli.patience import Patience
from cli.repeats import exchange, wait_named
from cli.screen import complain, say, stop

API_VERSION = "2024-11-01"
DEFAULT = "default"
"""The key that each host has from its start."""
GOOD = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}
ACTIONS = {
    "POST": "Microsoft.Web/sites/host/listkeys/action",
    "PUT": "Microsoft.Web/sites/host/functionkeys/write",
    "DELETE": "Microsoft.Web/sites/host/functionkeys/delete",
}
HOST_FAILED = re.compile(
    r"error \((ServiceUnavailable|InternalServerError|BadGateway|GatewayTimeout|TooManyRequests|Conflict)\)"
    r" from host runtime"
)
"""The answer of a host that restarts: 400 with these words."""
NO_RIGHT = "AuthorizationFailed"
"""The code of 403 where a role lacks the action."""
LOCKED = "ScopeLocked"
"""The code of 409 where a lock forbids the change, so that a repeat changes nothing."""
LONGEST_TEXT = 600
"""Characters of a message that are shown: one about a missing right names two ids and a resource."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a request failed, what helps, and whether it may have had its effect all the same."""

    what: str
    hint: str
    may_have_happened: bool


class AzureApp:
    """The host of a function app in Azure.

    Args:
        url: of the host, below the cloud's management origin: the token goes there alone.
        token: makes a token for Azure Resource Manager.
        ca_file: roots beside those that are trusted anyway.
        patience: how to wait where a failure may pass.
    """

    def __init__(self, url: str, *, token: Callable[[], str], ca_file: str, patience: Patience) -> None:
        self._url = url
        self._token = cache(token)  # az takes a second for each
        self._ca_file = ca_file
        self._patience = patience

    def digests(self) -> Mapping[str, str]:
        """List the SHA-256 of each by its name."""
        held = self._list(patient=True)
        if isinstance(held, _Failure):
            raise stop(held.what, held.hint)
        return {name: key_digest(value) for name, value in held.items()}

    def opening_key(self, *, patient: bool) -> str:
        """Return the default key of the host, or another one of function level."""
        held = self._list(patient=patient)
        if isinstance(held, _Failure):
            raise stop(held.what, held.hint)
        key = held.get(DEFAULT) or next(iter(held.values()), None)
        if key is None:
            raise stop("The host has no function key that opens the app's readiness.", "Name a caller: --as NAME")
        return key

    def make(self, names: Sequence[str]) -> Mapping[str, str]:
        """Make keys, each in place of the key of its name; return the values of those that were made."""
        made: dict[str, str] = {}
        unsure: list[str] = []
        for batch in itertools.batched(names, AT_ONCE, strict=False):
            if not self._make(batch, made, unsure):
                break
        held = self._list(patient=False)
        if not isinstance(held, _Failure):
            for name in [name for name, value in made.items() if held.get(name) != value]:
                del made[name]
                if not self._make([name], made, []):
                    unsure.append(name)
        self._take_back(unsure)
        return made

    def delete(self, names: Sequence[str]) -> frozenset[str]:
        """Delete keys, and return the names of those that are gone; one that is not there is no failure."""
        gone: set[str] = set()
        for batch in itertools.batched(names, AT_ONCE, strict=False):
            if not self._delete(batch, gone):
                break
        held = self._list(patient=False)
        if not isinstance(held, _Failure):
            for name in [name for name in gone if name in held]:
                gone.discard(name)
                self._delete([name], gone)
        return frozenset(gone)

    def _make(self, names: Sequence[str], made: dict[str, str], unsure: list[str]) -> bool:
        """Add to the keys that are made, or to those of which nobody knows; return whether all are made."""
        # No value: home-made ones can be refused.
        bodies = [{"properties": {"name": name}} for name in names]
        answers = self._ask(
            [self._question("PUT", _path(name), body) for name, body in zip(names, bodies, strict=True)]
        )
        failures = []
        for name, answer in zip(names, answers, strict=True):
            failure = self._failure("PUT", answer)
            value = None if failure or isinstance(answer, NoAnswer) else _value(answer)
            if value:
                made[name] = value
                continue
            failures.append(failure or _STRANGE)
            if failures[-1].may_have_happened:
                unsure.append(name)
        _tell(failures)
        return not failures

    def _delete(self, names: Sequence[str], gone: set[str], *, patient: bool = True) -> bool:
        """Add to the keys that are gone; return whether all are."""
        answers = self._ask([self._question("DELETE", _path(name)) for name in names], patient=patient)
        failures = {name: self._failure("DELETE", answer) for name, answer in zip(names, answers, strict=True)}
        gone.update(name for name, failure in failures.items() if failure is None)
        _tell([failure for failure in failures.values() if failure])
        return gone.issuperset(names)

    def _take_back(self, names: Sequence[str]) -> None:
        """Delete keys that may be there and that nobody has; print the names of those that may stay."""
        gone: set[str] = set()
        if names and not self._delete(names, gone, patient=False):
            left = ", ".join(name for name in names if name not in gone)
            say(f"The host may have the new key {left}. Nobody has it, and it opens nothing.", error=True)

    def _list(self, *, patient: bool) -> Mapping[str, str] | _Failure:
        [answer] = self._ask([self._question("POST", "listkeys")], patient=patient)
        failure = self._failure("POST", answer)
        if failure or isinstance(answer, NoAnswer):
            return failure or _STRANGE
        held = json_object(answer.content).get("functionKeys")
        if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
            return _STRANGE
        return held

    def _question(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Question:
        request = httpx.Request(method, f"{self._url}/{path}", params={"api-version": API_VERSION}, json=body)
        return Question(request, bearer(self._token(), service=self._url))

    def _ask(self, questions: Sequence[Question], *, patient: bool = True) -> list[Answer]:
        if not patient:
            return send_all(questions, ca_file=self._ca_file)
        answers = exchange(questions, passing=_passing, patience=self._patience, ca_file=self._ca_file)
        return [each[-1] for each in answers]

    def _failure(self, method: str, answer: Answer) -> _Failure | None:
        """Return why a request failed; None where it did not."""
        may_pass = bool(_passing(answer))
        if isinstance(answer, NoAnswer):
            hint = "Repeat the command later." if may_pass else "Does your network reach Azure Resource Manager?"
            return _Failure(str(answer), hint, may_have_happened=may_pass)
        if answer.status_code in GOOD or (method == "DELETE" and answer.status_code == HTTPStatus.NOT_FOUND):
            return None
        hint = "Is --resource-id (VEND_RESOURCE_ID) right, and is it your subscription?"
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            hint = "Log in again: az login, with --tenant where you have several."
        if answer.status_code == HTTPStatus.FORBIDDEN:
            hint = "The message says what forbids it; the owner of the subscription can change that."
        if _error(answer)[0] == NO_RIGHT:
            hint = f"You need {ACTIONS[method]}: ask for the role vend key operator of the deployment on the app."
        if may_pass:
            named = wait_named(answer, self._patience)
            hint = f"Repeat the command after {named:.0f} s." if named else "Repeat the command later."
        elif answer.status_code == HTTPStatus.CONFLICT:
            hint = "Somebody has locked the app or its resource group: a lock stays until it is removed."
        return _Failure(_said(answer), hint, may_have_happened=may_pass)


_STRANGE = _Failure(
    "The answer is not one of Azure Resource Manager.",
    "Is `management` of the cloud right? Does a proxy answer in its place?",
    may_have_happened=True,
)


def _tell(failures: Sequence[_Failure]) -> None:
    """Print each reason once."""
    for what, hint in dict.fromkeys((failure.what, failure.hint) for failure in failures):
        complain(what, hint)


def _path(name: str) -> str:
    return f"functionKeys/{quote(name, safe='')}"


def _value(answer: httpx.Response) -> str | None:
    """Return the value of a key that was made."""
    made = json_object(answer.content)
    match made.get("properties", made):
        case {"value": str(value)}:
            return value
    return None


def _passing(answer: Answer) -> str:
    """Return why a failure may pass; "" where it does not."""
    if isinstance(answer, NoAnswer):
        return str(answer) if answer.may_pass else ""
    code, message = _error(answer)
    status = answer.status_code
    waited_for = ""
    if status == HTTPStatus.BAD_REQUEST and HOST_FAILED.search(message):
        waited_for = "The host of the app restarts, or fails."
    if status == HTTPStatus.CONFLICT and code != LOCKED:
        waited_for = "Another operation is under way."
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        waited_for = "There are too many requests."
    if answer.is_server_error:
        waited_for = "The service fails for now."
    return f"{_said(answer)} {waited_for}" if waited_for else ""


def _said(answer: httpx.Response) -> str:
    """Return the status, the code and the message of a failure as a sentence."""
    code, message = _error(answer)
    return (
        f"Azure Resource Manager answers {answer.status_code}{f' {code}' if code else ''}{message and f': {message}'}."
    )


def _error(answer: httpx.Response) -> tuple[str, str]:
    """Return code and message of Azure Resource Manager, or of Microsoft.Web, which has capital names; bounded."""
    body = json_object(answer.content)
    match body.get("error", body):
        case {"code": str(code), "message": str(message)} | {"Code": str(code), "Message": str(message)}:
            return _bounded(code).rstrip("."), _bounded(message).rstrip(".")
    return "", ""


def _bounded(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]} ..."
