"""`./vend sync`: asks the app for one short run of the sync after the other, until every stream is complete."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import typer

from cli.http import NoAnswer, Secret, check_address, function_key, json_object, send
from cli.keys import LOCAL_APP, App, key_of
from cli.patience import Patience, patience_of
from cli.screen import GOOD, complain, counted, misuse, progress, say, stop
from shared.core.directory.streams import STREAMS

FIRST_SECONDS, MOST_SECONDS = 5, 60
"""How long the first run lasts, and a later one at most. Each run lasts twice as long as the one before. The first
shows at once how far the sync is. Where the copy lies in a blob, a longer run moves the blob less often."""
BESIDE_SECONDS = 60
"""The time that a request may take beside its run: for a page under way, and for the copy on its way to the blob."""
AGAIN_SECONDS = 10
"""After which a run is asked for again that another one kept from beginning."""
LONGEST_WAIT_SECONDS = 300
"""How long this command waits for another run, or for Graph."""
IDLE_RUNS = 7
"""After so many runs in a row that read no page of an unfinished stream, this command ends. The last three of them have
the full length."""
HELD = "docs/directory.md says how to check whether the loss is real, and how to accept it."


@dataclass(slots=True)
class Stream:
    """The result of all runs together for one stream of a tenant."""

    name: str
    tenant_id: str
    outcome: str = ""
    pages: int = 0
    changes: int = 0
    rows: int = 0
    waiting_seconds: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    cause: str | None = None

    def add(self, told: dict[str, Any]) -> None:
        """Add what one run did."""
        self.pages += told["pages"]
        self.changes += told["changes"]
        self.rows += told["rows"]
        self.held = {**self.held, **told["held"]}
        # A later run of a stream that is complete is another round.
        if self.outcome != "complete":
            self.outcome, self.cause = told["outcome"], told["cause"]
            self.waiting_seconds = told["waiting_seconds"]


def sync(
    context: typer.Context,
    admin: Annotated[
        str, typer.Option("--as", metavar="ADMIN", help="A caller with `admin = true`: its key asks the app.")
    ],
    app: App = LOCAL_APP,
    *,
    stream: Annotated[str | None, typer.Option("--stream", metavar="STREAM", help="The only stream to sync.")] = None,
    resync: Annotated[
        bool, typer.Option("--resync", help="Begin a new copy; readers keep the old one meanwhile.")
    ] = False,
    loss: Annotated[
        tuple[str, str, int] | None,
        typer.Option(
            "--accept-loss", metavar="STREAM KIND NUMBER", help="Accept a loss that the event sync_held names."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Sync the directory now, whether it is due or not, and show how far each stream is.

    Exit code 0: every stream is complete. 1: one is not, and the lines say why.
    """
    wanted = _wanted(stream, resync=resync, loss=loss)
    address = check_address(app, at="--app")
    secret = function_key(key_of(admin, app=address), app=address)
    runs = Runs(address, secret, patience=patience_of(context))
    with progress() as show:
        runs.until_complete(wanted, show=show)
    if as_json:
        typer.echo(
            json.dumps({"complete": runs.is_complete, "streams": [asdict(each) for each in runs.streams.values()]})
        )
    else:
        for each in runs.streams.values():
            say(f"{each.name}  {_described(each)}")
            for kind, number in each.held.items():
                complain(f"{each.name}: a loss of {number} {kind} is not believed; the old rows stay.", HELD)
    if runs.idle == IDLE_RUNS:
        raise stop(
            f"{IDLE_RUNS} runs read no page.", "Graph is slow, or the blob is large. The runs of the timer are longer."
        )
    if not runs.is_complete:
        raise stop("Not every stream is complete.", "The events sync_failed and sync_skipped say more.")
    if not as_json:
        held = any(each.held for each in runs.streams.values())
        say(f"Every stream is complete{', but for what is not believed' if held else ''}.", style=GOOD)


def _wanted(stream: str | None, *, resync: bool, loss: tuple[str, str, int] | None) -> Mapping[str, str]:
    """Return the parameters of the first run, or end with exit code 2."""
    if stream is not None and stream not in STREAMS:
        raise misuse("--stream", f"must be one of {', '.join(STREAMS)}")
    if loss is not None and (loss[0] not in STREAMS or loss[2] < 1 or resync or stream not in {None, loss[0]}):
        rule = f"must be one of {', '.join(STREAMS)}, a kind and its number, without --resync and another --stream"
        raise misuse("--accept-loss", rule, "The event sync_held has all three.")
    wanted = {}
    if stream is not None:
        wanted["stream"] = stream
    if resync:
        wanted["resync"] = "true"
    if loss is not None:
        wanted["accept_loss"] = ":".join(map(str, loss))
    return wanted


def _described(each: Stream) -> str:
    cause = f" ({each.cause})" if each.cause and each.outcome != "complete" else ""
    done = (counted(each.pages, "page"), counted(each.changes, "change"), counted(each.rows, "row"))
    return ", ".join([f"{each.outcome}{cause}", *done])


class Runs:
    """The runs that one command asks for.

    Args:
        app: the address of the app.
        secret: the key of an administrator.
        patience: how to wait.

    Attributes:
        idle: how many runs in a row read no page of a stream that is not complete.
    """

    def __init__(self, app: str, secret: Secret, *, patience: Patience) -> None:
        self.streams: dict[tuple[str, str], Stream] = {}
        self.idle = 0
        self._app = app
        self._secret = secret
        self._patience = patience

    @property
    def is_complete(self) -> bool:
        """Whether every stream is."""
        return all(each.outcome == "complete" for each in self.streams.values())

    def until_complete(self, wanted: Mapping[str, str], *, show: Callable[[str], None]) -> None:
        """Ask again and again; end when nothing is left to be done, or nothing can be.

        Args:
            wanted: the parameters of the first run. Of these the later ones have the stream alone.
            show: shows how far it is.
        """
        later = {name: value for name, value in wanted.items() if name == "stream"}
        seconds, waited = FIRST_SECONDS, 0
        while True:
            before = self._rest()
            self._run({"seconds": str(seconds), **wanted}, seconds=seconds)
            show("; ".join(f"{each.name} {_described(each)}" for each in self.streams.values()))
            rest = [each for each in self.streams.values() if each.outcome != "complete"]
            if not rest or any(each.outcome == "failed" for each in rest):
                return
            if "accept_loss" in wanted and all(each.outcome == "skipped" for each in rest):
                return
            if all(each.outcome == "skipped" for each in rest):
                wait = max(each.waiting_seconds or AGAIN_SECONDS for each in rest)
                waited += wait
                if waited > LONGEST_WAIT_SECONDS:
                    return
                self._patience.sleep(wait)
            else:
                unfinished = before.keys() | self._rest().keys()
                is_idle = all(self.streams[key].pages == before.get(key, 0) for key in unfinished)
                self.idle = self.idle + 1 if is_idle else 0
            if self.idle == IDLE_RUNS:
                return
            seconds, wanted = min(2 * seconds, MOST_SECONDS), later

    def _rest(self) -> dict[tuple[str, str], int]:
        """Return the streams that are not complete, each with the number of its pages."""
        return {key: each.pages for key, each in self.streams.items() if each.outcome != "complete"}

    def _run(self, wanted: Mapping[str, str], *, seconds: int) -> None:
        """Ask for one run; wait while another one is at it."""
        request = httpx.Request("POST", f"{self._app}/api/sync?{urlencode(wanted)}", content=b"")
        until = self._patience.clock() + LONGEST_WAIT_SECONDS
        while True:
            try:
                answer = send(request, secret=self._secret, seconds=seconds + BESIDE_SECONDS)
            except NoAnswer as failure:
                so = (
                    "Whether the new copy has begun is not known."
                    if "resync" in wanted
                    else "The run may be under way."
                )
                raise stop(str(failure), so) from None
            if answer.status_code != HTTPStatus.CONFLICT:
                break
            if self._patience.clock() >= until:
                raise stop("Another run held the streams all the time.", "Ask again later.")
            self._patience.sleep(AGAIN_SECONDS)
        self._add(answer)

    def _add(self, answer: httpx.Response) -> None:
        body = json_object(answer.content)
        match answer.status_code, body:
            case HTTPStatus.OK, {"streams": list(streams)}:
                for told in streams:
                    key = told["tenant_id"], told["name"]
                    self.streams.setdefault(key, Stream(told["name"], told["tenant_id"])).add(told)
            case HTTPStatus.FORBIDDEN, {"correlation_id": _}:
                raise stop("The caller of --as is no admin.", "Its entry needs admin = true.")
            case HTTPStatus.UNAUTHORIZED, _:
                raise stop("The key of --as is not that of a caller.")
            case HTTPStatus.NOT_FOUND, _:
                raise stop("The app has no /api/sync.", "It is older than this command.")
            case status, _:
                raise stop(f"/api/sync answers {status}.", str(body.get("error_description", "")))
