"""`./vend break` and `./vend mend`: a fault or a situation of the local cloud, on and off by its control API.

The local cloud itself ends the fault when its time is over, so the command need not stay.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

import httpx
import typer

from cli.duration import Lasts, duration
from cli.http import ask, check_address, json_object
from cli.running import unless_named
from cli.screen import BAD, GOOD, counted, misuse, say, say_table, stop

LOCAL_CLOUD = "http://127.0.0.1:8440"
"""The control API that `make run` opens."""

NOBODY = "`make run` starts the local cloud; for another: --control URL, or VEND_CONTROL."
NOTICED = {
    "entra": "nothing while they have a cached token, until a minute before its end; else an error, within 20 s",
    "vault": "nothing while the last assertion is reused, up to 9 minutes; then as without Entra",
    "identity": "nothing while vend keeps its own token for the vault; then as without the vault",
    "graph": "nothing; the directory sync fails, and goes on from where it was",
    "blob": "nothing for a day, where it holds the callers document; that of `make run` is a file",
    "issuer": "nothing for two days, where its keys are known to the worker; a worker that starts answers 503",
    "management": "nothing: it is asked by ./vend callers alone, for an app in Azure",
}
SITUATIONS = {
    "audience": (
        "the orders API now wants tokens of another version, so Entra issues them with another audience",
        "tokens that this API may refuse, from the next refresh on",
    ),
    "callers": (
        "the callers document has a mistake",
        "nothing: the last good one holds for a day, so a new caller is not known and a revoked one is still served",
    ),
    "certificate": (
        "Entra knows no certificate of profile graph",
        "nothing while they have a cached token; then 502. ./vend callers purge makes it so at once",
    ),
    "clock": (
        "the answers of the local cloud have a date that is 3 minutes ahead of this machine",
        "nothing: vend logs it with the next token that it acquires. ./vend callers purge makes it so at once",
    ),
    "consent": (
        "nobody has consented: new tokens of profile graph have no roles",
        "tokens that the API refuses, from the next refresh on: ./vend token billing --refresh shows one",
    ),
    "document": (
        "the callers document is gone",
        "nothing for a day: the last good one holds; a worker that starts answers 503",
    ),
    "entry": (
        "somebody has written the entry of a caller by hand, with a mistake",
        "nothing, but for that caller: its key gets 401",
    ),
    "firewall": (
        "Key Vault lets nobody in",
        "nothing while the last assertion is reused, up to 9 minutes; then as without Entra",
    ),
    "grants": (
        "two grants of one caller are for the same scope",
        "nothing: the first of the two decides",
    ),
    "impostor": (
        "somebody answers in place of Entra, with tokens of another tenant",
        "nothing while they have a cached token; then 502. ./vend callers purge makes it so at once",
    ),
    "keys": (
        "the host has lost its keys, and has made new ones",
        "401 once the host has met an unknown key, but not for keys accepted before; ./vend callers rekey --all",
    ),
    "members": (
        "Graph begins anew, and keeps the members of groups back",
        "nothing: the old rows stay until somebody believes the loss. ./vend sync --as operator shows it",
    ),
}
"""Situations of the local cloud and of `make run`: what is so, and what callers notice."""
FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "refuse": ("nobody listens", {"kind": "refuse"}),
    "black_hole": ("it takes connections and stays silent", {"kind": "black_hole"}),
    "garbage": ("it answers what is no JSON", {"kind": "garbage"}),
    "endless": ("its answers have no end", {"kind": "endless"}),
    "slow": ("each answer comes 5 s late", {"kind": "delay", "seconds": 5}),
    "expired": ("its TLS certificate ended yesterday", {"kind": "tls", "flaw": "expired"}),
}
"""How a part can fail: what that is, and the fault of the control API."""
STATUSES = re.compile("401|403|429|5[0-9]{2}")

Part = Annotated[
    str, typer.Argument(metavar="PART", help=f"A part: {', '.join(NOTICED)}. Or a situation: {', '.join(SITUATIONS)}.")
]
Control = Annotated[
    str,
    typer.Option(
        "--control",
        metavar="URL",
        envvar="VEND_CONTROL",
        callback=unless_named("control"),
        help="Control API of the local cloud. Without it: that of `make run`.",
    ),
]


def break_part(
    part: Part,
    time: Lasts = "",
    how: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="How a part fails. "
            + " ".join(f"{how}: {meaning}." for how, (meaning, _) in FAULTS.items())
            + " 401, 403, 429, or 500 to 599: it answers that status. Without it: refuse.",
        ),
    ] = "",
    control: Control = LOCAL_CLOUD,
) -> None:
    """Rehearse an outage: break a part of the local cloud, or begin a situation that an operator meets.

    The local cloud mends itself when the time is over, whether or not this terminal is still there. Without a time it
    stays so until `./vend mend`. `./vend watch CALLER` shows what a caller notices meanwhile.
    """
    body, meaning, notice = _fault(part, how)
    lasts = duration(time)
    if lasts:
        body["lasts_seconds"] = lasts.total_seconds()
    _drive("PUT", part, control=control, body=body)
    say(f"{part} is broken: {meaning}" if part in NOTICED else f"{part}: {meaning}", style=BAD)
    end = f"{datetime.now().astimezone() + lasts:%H:%M:%S}, or " if lasts else ""
    say_table([("callers notice", notice), ("until", f"{end}./vend mend {part}")])


def mend_part(part: Part, control: Control = LOCAL_CLOUD) -> None:
    """Mend a part of the local cloud, or end a situation, at once."""
    taken = _drive("DELETE", part, control=control).get("taken")
    met = f" Its faults met {counted(taken, 'request')} so far." if isinstance(taken, int) and taken else ""
    say(
        f"{part} has ended; what you have changed meanwhile stays."
        if part in SITUATIONS
        else f"{part} works again.{met}",
        style=GOOD,
    )


def _drive(method: str, part: str, *, control: str, body: Mapping[str, object] | None = None) -> Mapping[str, object]:
    if part not in SITUATIONS and part not in NOTICED:
        raise misuse("PART", f"must be one of {', '.join(NOTICED)}; or a situation: {', '.join(SITUATIONS)}")
    kind = "rehearsals" if part in SITUATIONS else "faults"
    url = f"{check_address(control, at='--control')}/{kind}/{quote(part, safe='')}"
    answer = ask(httpx.Request(method, url, json=body), hint=NOBODY)
    state = json_object(answer.content)
    if answer.status_code == HTTPStatus.OK and state:
        return state
    what = state.get("error", "this is not the local cloud")
    raise stop(f"{part}: {what}", "" if state else NOBODY)


def _fault(part: str, how: str) -> tuple[dict[str, object], str, str]:
    """Return the body of the request, what happens, and what callers notice; end with exit code 2 for a bad HOW."""
    if part in SITUATIONS:
        if how:
            raise typer.BadParameter(f"is for a part; {part} is a situation", param_hint="--how")
        return {}, *SITUATIONS[part]
    notice = NOTICED.get(part, "")
    if part == "identity" and how == "expired":
        raise typer.BadParameter("identity has no TLS, as on App Service", param_hint="--how")
    if how in {*FAULTS, ""}:
        meaning, fault = FAULTS[how or "refuse"]
        return dict(fault), meaning, notice
    if STATUSES.fullmatch(how):
        return {"kind": "status", "status": int(how)}, f"it answers {how}", notice
    known = ", ".join(FAULTS)
    raise typer.BadParameter(f"must be {known}, 401, 403, 429, or a status from 500 to 599", param_hint="--how")
