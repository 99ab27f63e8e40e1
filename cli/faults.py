"""`./vend break` and `./vend mend`: a fault of the local cloud, on and off by its control API.

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

from cli.duration import duration
from cli.http import ask, check_address, json_object
from cli.running import unless_named
from cli.screen import BAD, GOOD, counted, say, say_table, stop

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
KINDS = {
    "refuse": "nobody listens",
    "black_hole": "it takes connections and stays silent",
    "garbage": "it answers what is no JSON",
    "endless": "its answers have no end",
}

Part = Annotated[str, typer.Argument(metavar="PART", help=f"One of {', '.join(NOTICED)}.")]
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
    time: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Such as 30s, 5m or 1h; without it, until `./vend mend`.")
    ] = "",
    how: Annotated[
        str,
        typer.Option(
            help=" ".join(f"{kind}: {meaning}." for kind, meaning in KINDS.items())
            + " 429, or 500 to 599: it answers that status."
        ),
    ] = "refuse",
    control: Control = LOCAL_CLOUD,
) -> None:
    """Break a part of the local cloud, and see what callers notice.

    The local cloud mends itself when the time is over, whether or not this terminal is still there.
    """
    fault, lasts = _fault(how), duration(time)
    if lasts:
        fault["lasts_seconds"] = lasts.total_seconds()
    _drive("PUT", part, control=control, fault=fault)
    say(f"{part} is broken: {KINDS.get(how, f'it answers {how}')}", style=BAD)
    end = f"{datetime.now().astimezone() + lasts:%H:%M:%S}, or " if lasts else ""
    say_table([("callers notice", NOTICED.get(part, "")), ("until", f"{end}./vend mend {part}")])


def mend_part(part: Part, control: Control = LOCAL_CLOUD) -> None:
    """Mend a part of the local cloud at once."""
    taken = _drive("DELETE", part, control=control).get("taken")
    met = f" Its faults met {counted(taken, 'request')} so far." if isinstance(taken, int) and taken else ""
    say(f"{part} works again.{met}", style=GOOD)


def _drive(method: str, part: str, *, control: str, fault: Mapping[str, object] | None = None) -> Mapping[str, object]:
    url = f"{check_address(control, at='--control')}/faults/{quote(part, safe='')}"
    answer = ask(httpx.Request(method, url, json=fault), hint=NOBODY)
    state = json_object(answer.content)
    if answer.status_code == HTTPStatus.OK and state:
        return state
    what = state.get("error", "this is not the local cloud")
    raise stop(f"{part}: {what}", "" if state else NOBODY)


def _fault(how: str) -> dict[str, object]:
    if how in KINDS:
        return {"kind": how}
    if re.fullmatch(r"429|5[0-9]{2}", how):
        return {"kind": "status", "status": int(how)}
    raise typer.BadParameter(f"must be {', '.join(KINDS)}, 429, or a status from 500 to 599", param_hint="--how")
