"""`./vend status`: on one screen, whether the app can serve, and what it goes by."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import typer

from cli.http import NoAnswer, Secret, check_address, function_key, json_object, send
from cli.keys import LOCAL_APP, App, key_of
from cli.readiness import Diagnosis, Unclear, read_diagnosis
from cli.screen import BAD, GOOD, AsJson, complain, counted, say, say_json, say_table, stop

ADMIN = "operator"
"""The administrator that `make run` makes."""
SERVING = frozenset({"ready", "degraded"})
NOBODY = "`make run` starts one on this machine; for another: --app URL, or VEND_URL."
NOT_READ = "not known: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What one worker of the app says of itself.

    Args:
        app: its address.
        status: ready, degraded or not_ready.
        worker: its id.
        callers: the callers document that it goes by.
        checks: name, state and detail of each.
        credentials: by which each profile proves itself; None where the key is not that of an administrator.
        mistakes: of the callers document; None as before.
    """

    app: str
    status: str
    worker: str
    callers: Mapping[str, Any]
    checks: Sequence[Mapping[str, str]]
    credentials: Sequence[Mapping[str, Any]] | None
    mistakes: Sequence[str] | None


def status(
    name: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="CALLER",
            help="Whose key asks. With `admin = true` it also sees mistakes of the callers and credentials.",
        ),
    ] = ADMIN,
    app: App = LOCAL_APP,
    *,
    as_json: AsJson = False,
) -> None:
    """Say whether the app can serve, which checks it made, and which callers document is in force.

    One worker answers; ask again to see another. The key of CALLER is found as for `./vend token`.

    Exit code 0: that worker can serve, perhaps with a warning. 1: it cannot, or there is no answer.
    """
    address = check_address(app, at="--app")
    found = _ask(address, function_key(key_of(name, app=address), app=address))
    if as_json:
        say_json(asdict(found))
    else:
        _print(found)
    if found.status not in SERVING:
        raise typer.Exit(1)


def _ask(address: str, secret: Secret) -> Status:
    try:
        answer = send(httpx.Request("GET", f"{address}/api/health/ready"), secret=secret)
    except NoAnswer as failure:
        raise stop(str(failure), NOBODY) from None
    match json_object(answer.content):
        case {
            "status": str(status),
            "worker": str(worker),
            "callers": dict(callers),
            "checks": [dict(), *_] as checks,
        } if all(isinstance(each, dict) for each in checks):
            known = _diagnosis(address, secret)
            return Status(
                app=address,
                status=status,
                worker=worker,
                callers=callers,
                checks=checks,
                credentials=known.credentials if known else None,
                mistakes=known.mistakes if known else None,
            )
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise stop(
            "The host does not know the key that asks.", "Is it the key of another app? A new one can take 60 s."
        )
    raise stop(f"{address} answers {answer.status_code}, but not as vend does.", "Is it the address of vend?")


def _diagnosis(address: str, secret: Secret) -> Diagnosis | None:
    try:
        return read_diagnosis(address, secret)
    except Unclear:
        return None


def _print(found: Status) -> None:
    style = {"ready": GOOD, "not_ready": BAD}.get(found.status, "")
    say(f"{found.status.replace('_', ' ')}  {found.app}, worker {found.worker}", style=style)
    width = max(len(each.get("name", "")) for each in found.checks)
    for each in found.checks:
        is_ok = each.get("state") == "ok"
        say(
            f"{each.get('name', ''):{width}}  {each.get('state', ''):8}  {each.get('detail', '')}",
            style="" if is_ok else BAD,
        )
    rows = [("callers document", _document(found.callers))]
    rows += [("credential", _credential(each)) for each in found.credentials or ()]
    say_table(rows)
    for mistake in found.mistakes or ():
        complain(f"callers document: {mistake}")
    bad = [each.get("name", "") for each in found.checks if each.get("state") != "ok"]
    if bad:
        sections = ", ".join(f"docs/runbook.md#{name}" for name in bad)
        say(f"What to do: {sections}; ./vend watch shows the events.")


def _credential(serving: Mapping[str, Any]) -> str:
    credential, ends, resting = serving.get("credential"), serving.get("ends"), serving.get("resting") or []
    words = [f"{serving.get('profile')}: {credential or 'none is known yet'}"]
    words += [f"until {ends[:10]}"] if isinstance(ends, str) else []
    if credential in resting:
        words.append("refused")
    elif credential and not serving.get("is_accepted"):
        words.append("not tried yet")
    others = [each for each in resting if each != credential]
    words += [f"{counted(len(others), 'other')} refused"] if others else []
    return ", ".join(words)


def _document(facts: Mapping[str, Any]) -> str:
    in_force, newest, refused = facts.get("in_force"), facts.get("newest"), facts.get("refused")
    if in_force is None:
        return "none in force"
    shown = f"{in_force} in force, generation {facts.get('generation')}"
    if newest != in_force:
        shown += f"; the newer one, {newest}, is refused"
    return shown + (f"; {counted(refused, 'caller')} refused" if isinstance(refused, int) and refused else "")
