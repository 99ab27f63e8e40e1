"""`./vend sync` against an app whose answers are written down, each of which keeps to the contract."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cli.patience import Patience
from tests.cli.conftest import KEY, Run, Serve
from tests.contract import conforms

TENANT = "3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835"
HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "pragma": "no-cache",
    "x-content-type-options": "nosniff",
}
type Told = tuple[int, Mapping[str, Any]]


def ran(**streams: Mapping[str, Any]) -> Told:
    """Write the answer to a run, by stream with what differs from a run that read one page."""
    usual = {
        "tenant_id": TENANT,
        "outcome": "complete",
        "phase": "copy",
        "pages": 1,
        "changes": 2,
        "rows": 3,
        "waiting_seconds": 0,
        "held": {},
        "cause": None,
    }
    told = [{"name": name, **usual, **each} for name, each in streams.items()]
    complete = all(each["outcome"] == "complete" for each in told)
    return 200, {"complete": complete, "streams": told, "correlation_id": "an-id"}


def refused(status: int, error: str) -> Told:
    """Write a refusal."""
    retryable = error == "temporarily_unavailable"
    return status, {"error": error, "error_description": "no", "retryable": retryable, "correlation_id": "an-id"}


BUSY = refused(409, "temporarily_unavailable")


@dataclass
class Scripted:
    """An app that gives one answer after the other, and notes what it was asked."""

    answers: list[Told]
    asked: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        request = Request(scope)
        assert (request.method, request.url.path, request.headers["x-functions-key"]) == ("POST", "/api/sync", KEY)
        self.asked.append(request.url.query)
        status, body = self.answers[min(len(self.asked), len(self.answers)) - 1]
        headers = dict(HEADERS)
        if status == 409:
            headers["retry-after"] = "10"
        if status == 401:
            headers["www-authenticate"] = "FunctionKey"
        content = json.dumps(body).encode()
        assert status == 404 or conforms("/api/sync", "POST", status, headers, content) == []
        await Response(content, status, headers)(scope, receive, send)

    @property
    def patience(self) -> Patience:
        """Waits in no time."""
        return Patience(clock=lambda: sum(self.waited), sleep=self.waited.append)


SKIPPED = {"outcome": "skipped", "cause": "another run is at it"}
STUCK = {"outcome": "to be continued", "pages": 0, "changes": 0, "rows": 0}
GOES_ON, FAILED = {"outcome": "to be continued"}, {"outcome": "failed", "cause": "Graph: HTTP 403"}


@pytest.mark.parametrize(
    ("answers", "words", "asked", "waited", "code", "says"),
    [
        (
            [ran(users=GOES_ON, groups={}), ran(users=GOES_ON, groups=SKIPPED), ran(users={}, groups={})],
            (),
            ["seconds=5", "seconds=10", "seconds=20"],
            [],
            0,
            "users  complete, 3 pages, 6 changes, 9 rows\ngroups  complete, 3 pages, 6 changes, 9 rows\nEvery",
        ),
        (
            [BUSY, BUSY, ran(users=GOES_ON), ran(users={})],
            ("--resync", "--stream", "users"),
            [*["seconds=5&stream=users&resync=true"] * 3, "seconds=10&stream=users"],
            [10, 10],
            0,
            "users  complete",
        ),
        ([BUSY], (), ["seconds=5"] * 31, [10] * 30, 1, "Another run held the streams all the time."),
        ([ran(users=FAILED, groups=GOES_ON)], (), ["seconds=5"], [], 1, "users  failed (Graph: HTTP 403), 1 page"),
        (
            [ran(users={"outcome": "skipped", "waiting_seconds": 40}), ran(users={})],
            (),
            ["seconds=5", "seconds=10"],
            [40],
            0,
            "users  complete",
        ),
        (
            [ran(users={"outcome": "skipped", "waiting_seconds": 301, "cause": "Graph is asked again later"})],
            (),
            ["seconds=5"],
            [],
            1,
            "users  skipped (Graph is asked again later)",
        ),
        (
            [ran(users=STUCK, groups={})],
            (),
            ["seconds=5", "seconds=10", "seconds=20", "seconds=40", *["seconds=60"] * 3],
            [],
            1,
            "7 runs read no page",
        ),
        (
            [*[ran(users=STUCK)] * 6, ran(users=GOES_ON), *[ran(users=STUCK)] * 6, ran(users={})],
            (),
            ["seconds=5", "seconds=10", "seconds=20", "seconds=40", *["seconds=60"] * 10],
            [],
            0,
            "users  complete",
        ),
        (
            [ran(users={"held": {"objects": 600}})],
            (),
            ["seconds=5"],
            [],
            0,
            "a loss of 600 objects is not believed; the old rows stay.",
        ),
        ([ran(users={"held": {"objects": 600}})], (), ["seconds=5"], [], 0, "complete, but for what is not believed."),
        ([refused(403, "unauthorized_client")], (), ["seconds=5"], [], 1, "The caller of --as is no admin."),
        ([refused(401, "invalid_client")], (), ["seconds=5"], [], 1, "The key of --as is not that of a caller."),
        ([refused(404, "")], (), ["seconds=5"], [], 1, "The app has no /api/sync."),
        ([refused(400, "invalid_request")], (), ["seconds=5"], [], 1, "/api/sync answers 400."),
    ],
    ids=[
        "until complete", "resync once", "always busy", "failed", "Graph's wait", "a longer wait", "no progress",
        "slow progress", "held", "complete but for it", "no admin", "unknown key", "older app", "no sync",
    ],
)  # fmt: skip
def test_runs_are_asked_for_until_nothing_is_left(
    run: Run,
    serve: Serve,
    answers: list[Told],
    words: tuple[str, ...],
    asked: list[str],
    waited: list[float],
    code: int,
    says: str,
) -> None:
    """A new copy is asked for once, each run lasts longer than the last, and what fails ends with its reason."""
    app = Scripted(answers)
    done = run("sync", "--as", "ops", *words, "--app", serve(app), obj=app.patience, VEND_KEY=KEY)
    assert (app.asked, app.waited, done.exit_code) == (asked, waited, code)
    assert says in done.output
    assert KEY not in done.output


def test_json_has_the_same(run: Run, serve: Serve) -> None:
    """One object, and nothing else on stdout."""
    app = Scripted([ran(users=GOES_ON), ran(users={"held": {"mail": 30}})])
    done = run("sync", "--as", "ops", "--json", "--app", serve(app), obj=app.patience, VEND_KEY=KEY)
    assert json.loads(done.stdout) == {
        "complete": True,
        "streams": [
            {
                "name": "users",
                "tenant_id": TENANT,
                "outcome": "complete",
                "pages": 2,
                "changes": 4,
                "rows": 6,
                "waiting_seconds": 0,
                "held": {"mail": 30},
                "cause": None,
            }
        ],
    }


def test_a_lost_answer_is_not_repeated(run: Run) -> None:
    """Whether a new copy has begun is not known then: asking for it again could begin another one."""
    done = run("sync", "--as", "ops", "--resync", "--app", "http://localhost:1", VEND_KEY=KEY)
    assert done.exit_code == 1
    assert "Whether the new copy has begun is not known." in done.output


@pytest.mark.parametrize(
    "words",
    [
        ("--accept-loss", "devices", "objects", "3"),
        ("--accept-loss", "users", "objects", "0"),
        ("--accept-loss", "users", "objects", "3", "--resync"),
        ("--accept-loss", "users", "objects", "3", "--stream", "groups"),
    ],
    ids=" ".join,
)
def test_a_loss_is_of_one_stream_and_of_its_last_copy(run: Run, words: tuple[str, ...]) -> None:
    """A malformed one is not understood, and nothing is asked."""
    done = run("sync", "--as", "ops", *words, "--app", "http://localhost:1", VEND_KEY=KEY)
    assert done.exit_code == 2
    assert "--accept-loss" in done.output


def test_a_loss_is_accepted_once(run: Run, serve: Serve) -> None:
    """Later runs do not name it; one that is another by now ends the command."""
    gone = {"outcome": "skipped", "cause": "the loss to accept is not held back", "held": {"objects": 7}}
    for answers, asked, code in (
        ([ran(users=GOES_ON), ran(users={})], ["seconds=5&accept_loss=users%3Aobjects%3A3", "seconds=10"], 0),
        ([ran(users=gone)], ["seconds=5&accept_loss=users%3Aobjects%3A3"], 1),
    ):
        app = Scripted(answers)
        words = ("--accept-loss", "users", "objects", "3", "--app", serve(app))
        done = run("sync", "--as", "ops", *words, obj=app.patience, VEND_KEY=KEY)
        assert (app.asked, done.exit_code) == (asked, code)
