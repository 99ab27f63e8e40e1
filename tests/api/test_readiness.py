import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.api.answers import Answer
from shared.api.checks import Checks
from shared.api.readiness import REPORT_SECONDS, SLOW_SECONDS, WAITING_PROBES, Readiness
from shared.callers.health import DocumentFacts, DocumentHealth, check_document
from shared.core.check import Check, State
from shared.core.errors import CredentialRefused, ScopeRefused, Unavailable, VendError
from shared.core.request import Incoming
from shared.core.token import TokenKey
from shared.credentials.check import Standing, check_credentials
from shared.telemetry.events import LOSS_SECONDS
from shared.telemetry.loop_lag import REMEMBERED, LoopLag
from shared.tokens.check import PATIENCE, TokenCheck
from tests.clock import fake_system, settle
from tests.contract import conforms
from tests.tables import DATA
from tests.tokens.test_cache import FAILING_FLOOR, KEY, LIFETIME, REFRESH_AFTER, Bench

PROBES = 1_000
OTHER = KEY._replace(scope="https://orders.example/.default")
URL = "https://vend.test/api/health/ready"


class Worker(Bench):
    """A worker with a real cache, whose other parts say what they are told to."""

    def __init__(self, *first_keys: TokenKey) -> None:
        super().__init__()
        self.health = DocumentHealth(age=3.0, is_failing=False)
        self.facts = DocumentFacts(in_force="0123456789ab", newest="0123456789ab", generation=1)
        self.looks = 0
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.standings = [Standing(self.now() + timedelta(days=90))]
        tokens = TokenCheck(self.cache, first_keys=first_keys or [KEY], min_remaining=FAILING_FLOOR)
        checks = Checks(
            callers=self._callers,
            token=tokens.check,
            identity=self._identity,
            certificate=self._certificate,
            directory=self._directory,
            events=lambda: self.events.check(self.clock().boot),
            event_loop=LoopLag().check,
        )
        self.readiness = Readiness(
            checks.look, facts=lambda: self.facts, system=fake_system(self.clock), events=self.events
        )

    def now(self) -> datetime:
        """Tell the time."""
        return datetime.fromtimestamp(self.clock().wall, UTC)

    async def probe(self, method: str = "GET", query: str = "") -> Answer:
        """Ask whether it can serve."""
        answer = await self.readiness.answer(Incoming(method, URL + query, {}, b""))
        assert conforms("/api/health/ready", method, answer.status, answer.headers, answer.body) == []
        return answer

    async def matters(self) -> Mapping[str, Any]:
        """Ask, once the last look is old, and list what is not well, by the name of the check."""
        await asyncio.sleep(REPORT_SECONDS)
        body = json.loads((await self.probe()).body)
        return {check["name"]: check["state"] for check in body["checks"] if check["state"] != "ok"}

    async def _callers(self) -> Check:
        self.looks += 1
        await self.hangs.wait()
        return check_document(self.health)

    async def _identity(self) -> Check:
        return Check("identity", State.OK, "no token was needed yet")

    async def _directory(self) -> Check:
        return Check("directory", State.OK, "nothing is synced here")

    async def _certificate(self) -> Check:
        return check_credentials(self.standings, self.clock())


def test_the_checks_come_in_the_order_of_their_page() -> None:
    """The cause stands before what follows from it: an operator reads the first check that is not well."""
    worker = Worker()
    page = (DATA.parents[1] / "docs" / "operations.md").read_text().partition("| check |")[2].partition("\n\n")[0]

    async def story() -> None:
        checks = json.loads((await worker.probe()).body)["checks"]
        assert [check["name"] for check in checks] == re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)

    worker.run(story)


def test_a_burst_of_probes_is_one_look_upstream() -> None:
    """However many ask, one token is asked for where there is none, and none at all while a failure is remembered."""
    worker = Worker()

    async def burst() -> set[tuple[int, str | None]]:
        before = worker.looks
        answers = await asyncio.gather(*(worker.probe() for _ in range(PROBES)))
        assert worker.looks == before + 1
        await asyncio.sleep(REPORT_SECONDS)
        return {(answer.status, answer.headers.get("Retry-After")) for answer in answers}

    async def story() -> None:
        worker.issuer.error = CredentialRefused()  # remembered for a minute
        for _ in range(2):
            assert await burst() == {(503, "30")}
            assert len(worker.issuer.asked) == 1
        await asyncio.sleep(60)
        worker.issuer.error = None
        for _ in range(2):
            assert await burst() == {(200, None)}
        assert worker.issuer.asked == [KEY, KEY]

    worker.run(story)


def test_one_look_answers_for_five_seconds() -> None:
    """Probes that come one after the other hammer nothing either, and see within seconds what has changed."""
    worker = Worker()

    async def story() -> None:
        assert (await worker.probe()).status == 200
        worker.health = DocumentHealth(age=None, is_failing=True)
        await asyncio.sleep(REPORT_SECONDS - 0.1)
        assert (await worker.probe()).status == 200
        await asyncio.sleep(0.2)
        assert (await worker.probe()).status == 503

    worker.run(story)


def test_a_change_is_told_once() -> None:
    """Probes leave no events; each change of the state leaves one, with what matters and what mends it."""
    worker = Worker()

    async def story() -> None:
        for standing in (
            DocumentHealth(age=3, is_failing=False),
            DocumentHealth(age=3, is_failing=True),
            DocumentHealth(age=None, is_failing=True),
            DocumentHealth(age=3, is_failing=False),
        ):
            worker.health = standing
            for _ in range(3):
                await worker.matters()

    worker.run(story)
    told = [json.loads(line) for line in worker.lines]
    assert [(event["event"], event["outcome"]) for event in told] == [
        ("readiness_changed", "degraded"),
        ("readiness_changed", "not_ready"),
        ("readiness_changed", "ready"),
    ]
    assert told[1]["cause"] == "callers: there is no valid callers document"
    assert "./vend check" in told[1]["remedy"]
    assert not {"cause", "remedy"} & told[2].keys()


@pytest.mark.parametrize(
    ("method", "query", "status", "allow"),
    [
        ("GET", "", 200, None),
        ("GET", "?code=x", 400, None),
        ("HEAD", "", 200, None),
        ("GET", "?a=1;client_secret=x", 400, None),
        ("GET", "?X-Functions-Key=x", 400, None),
        ("HEAD", "?code=x", 400, None),
        ("POST", "?code=x", 405, "GET, HEAD"),
        ("FOO", "", 405, "GET, HEAD"),
    ],
)
def test_a_probe_is_a_plain_question(method: str, query: str, status: int, allow: str | None) -> None:
    """ABU-02, ABU-04, ABU-22, FND-C11: GET or HEAD, and no secret in the URL; the headers are those of every answer."""
    worker = Worker()

    async def story() -> None:
        answer = await worker.probe(method, query)
        assert (answer.status, answer.headers.get("Allow")) == (status, allow)
        assert (answer.body == b"") is (method == "HEAD")
        assert answer.headers.items() >= {
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Pragma", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
        }
        assert method == "HEAD" or json.loads(answer.body)["correlation_id"] == "an-id"

    worker.run(story)


@pytest.mark.parametrize(
    ("days", "state"), [(90, None), (31, None), (30, "degraded"), (1, "degraded"), (-1, "degraded")]
)
def test_a_certificate_is_told_of_in_time(days: int, state: str | None) -> None:
    """REL-29: from 30 days before the first of them ends; it says the day, and an ended one may have left tokens."""
    worker = Worker()

    async def story() -> None:
        end = worker.now() + timedelta(days=days, minutes=1) if days > 30 else worker.now() + timedelta(days=days)
        worker.standings = [
            Standing(worker.now() + timedelta(days=200)),
            Standing(end + timedelta(seconds=REPORT_SECONDS)),
            Standing(None),
        ]
        assert (await worker.matters()).get("certificate") == state
        (detail,) = [
            check["detail"]
            for check in json.loads((await worker.probe()).body)["checks"]
            if check["name"] == "certificate"
        ]
        assert f"{end:%Y-%m-%d}" in detail
        assert (f"in {max(0, days)} days" in detail) is (state is not None)

    worker.run(story)


def test_a_newer_version_that_entra_refuses_is_told_of() -> None:
    """FND-G4: the older version still serves, and it will end."""
    worker = Worker()
    worker.standings = [Standing(worker.now() + timedelta(days=90), newer_refused=True), Standing(None)]

    async def story() -> None:
        assert await worker.matters() == {"certificate": "degraded"}

    worker.run(story)


def test_a_certificate_that_nobody_has_read_is_not_called_good() -> None:
    """What was not seen is not well."""
    worker = Worker()
    worker.standings = []

    async def story() -> None:
        assert await worker.matters() == {"certificate": "degraded"}

    worker.run(story)


@pytest.mark.parametrize(
    ("error", "state"), [(Unavailable(), "failed"), (CredentialRefused(), "failed"), (ScopeRefused(), "degraded")]
)
def test_without_a_token_the_last_attempt_decides(error: VendError, state: str) -> None:
    """Nothing to hand out is not ready; that Entra denies one scope is no reason to keep others from asking."""
    worker = Worker()

    async def story() -> None:
        worker.issuer.error = error
        assert await worker.matters() == {"token": state}
        worker.issuer.error = None
        await asyncio.sleep(300)
        assert await worker.matters() == {}

    worker.run(story)


@pytest.mark.parametrize("error", [CredentialRefused(), Unavailable(), ScopeRefused(), None], ids=str)
def test_one_profile_that_cannot_be_served_takes_no_fresh_worker_down(error: VendError | None) -> None:
    """FND-C5: where no token of the first of them can be had, or none comes, one of the next is asked for."""
    worker = Worker(KEY, OTHER)

    async def story() -> None:
        if error is None:
            worker.issuer.held[1] = asyncio.Event()
        else:
            worker.issuer.errors[1] = error
        expected = {} if error is None else {"token": "degraded"}
        assert await worker.matters() == expected
        assert worker.issuer.asked == [KEY, OTHER]

    worker.run(story)


def test_with_a_token_a_failure_degrades() -> None:
    """Who has one is served from the cache until its last minute, and told so; then the worker is not ready."""
    worker = Worker()

    async def story() -> None:
        await worker.secret()
        assert await worker.matters() == {}
        worker.issuer.error = Unavailable()
        await asyncio.sleep(REFRESH_AFTER)
        await worker.secret()
        await settle()
        assert await worker.matters() == {"token": "degraded"}
        await asyncio.sleep(LIFETIME - REFRESH_AFTER - FAILING_FLOOR - 3 * REPORT_SECONDS)
        assert await worker.matters() == {"token": "degraded"}
        await asyncio.sleep(REPORT_SECONDS)
        assert await worker.matters() == {"token": "failed"}

    worker.run(story)


def test_a_scope_that_nobody_asks_for_any_more_is_no_matter() -> None:
    """A refusal counts as long as it is remembered; a worker is not degraded for the rest of its life by one."""
    worker = Worker()

    async def story() -> None:
        await worker.secret()
        worker.issuer.error = CredentialRefused()
        with pytest.raises(CredentialRefused):
            await worker.secret(OTHER)
        assert await worker.matters() == {"token": "degraded"}
        await asyncio.sleep(60)
        assert await worker.matters() == {}

    worker.run(story)


@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER]], ids=len)
def test_nobody_waits_long_for_the_first_token(keys: list[TokenKey]) -> None:
    """A prober is told within seconds that there is none; what was asked for arrives all the same."""
    worker = Worker(*keys)

    async def story() -> None:
        worker.issuer.open.clear()
        began = worker.clock().boot
        assert await worker.matters() == {"token": "failed"}
        assert worker.clock().boot - began == pytest.approx(REPORT_SECONDS + PATIENCE)
        worker.issuer.open.set()
        await settle()
        assert await worker.matters() == {}
        assert worker.issuer.asked == keys

    worker.run(story)


def test_failures_that_take_their_time_count_against_the_patience_too() -> None:
    """Four profiles, each of whose flights fails late, are no four waits."""
    worker = Worker(*(KEY._replace(profile=f"profile-{count}") for count in range(4)))

    async def story() -> None:
        worker.issuer.takes, worker.issuer.error = 4.0, Unavailable()
        began = worker.clock().boot
        assert await worker.matters() == {"token": "failed"}
        assert worker.clock().boot - began <= REPORT_SECONDS + PATIENCE

    worker.run(story)


def test_lost_events_are_a_matter_for_ten_minutes() -> None:
    """REL-37, REL-38: readiness shows that the audit trail has a gap, and how large, until the log keeps up again."""
    worker = Worker()

    async def story() -> None:
        worker.events.lost = 2
        assert await worker.matters() == {"events": "degraded"}
        await asyncio.sleep(LOSS_SECONDS - 2 * REPORT_SECONDS)
        assert await worker.matters() == {"events": "degraded"}
        await asyncio.sleep(REPORT_SECONDS)
        assert await worker.matters() == {}
        assert b"2 lost since" in (await worker.probe()).body
        worker.events.lost = 3
        assert await worker.matters() == {"events": "degraded"}

    worker.run(story)


def test_a_blocked_event_loop_is_seen() -> None:
    """REL-47: what has kept everybody waiting is shown for a minute, although nobody could be answered meanwhile."""
    worker = Worker()

    async def story() -> None:
        assert await worker.matters() == {}
        worker.clock.tick(3)  # and nothing else has run
        assert await worker.matters() == {"event_loop": "degraded"}
        await asyncio.sleep(REMEMBERED / 2)
        assert await worker.matters() == {"event_loop": "degraded"}
        await asyncio.sleep(2 * REMEMBERED)
        assert (await worker.probe()).status == 200
        assert b"0.0 s late" in (await worker.probe()).body

    worker.run(story)


def test_a_defect_of_ours_is_an_answer() -> None:
    """What nobody foresaw is 500 in RFC form, and the next probe looks again."""

    async def fail() -> list[Any]:
        raise KeyError("canary")

    worker = Worker()
    worker.readiness = Readiness(fail, facts=DocumentFacts, system=fake_system(worker.clock), events=worker.events)

    async def story() -> None:
        answer = await worker.probe()
        assert (answer.status, json.loads(answer.body)["error"]) == (500, "server_error")
        assert b"canary" not in answer.body

    worker.run(story)


@pytest.mark.parametrize("before", [True, False], ids=["a report before", "none before"])
def test_a_crowd_of_probes_does_not_wait_for_checks_that_hang(*, before: bool) -> None:
    """FND-B4: every caller can probe, so that after five seconds 64 wait; the others get the last report, or 503."""
    worker = Worker()
    hangs = asyncio.Event()
    answered = Counter[tuple[int, float]]()

    async def probe(began: float) -> None:
        answer = await worker.probe()
        answered[answer.status, worker.clock().boot - began] += 1

    async def story() -> None:
        if before:
            await worker.probe()
            await asyncio.sleep(REPORT_SECONDS)
        worker.hangs = hangs
        began = worker.clock().boot
        crowd = [asyncio.create_task(probe(began)) for _ in range(100)]
        await asyncio.sleep(10)
        crowd += [asyncio.create_task(probe(began)) for _ in range(5)]
        await settle()
        hangs.set()
        await asyncio.gather(*crowd)

    worker.run(story)
    sent_away = 200 if before else 503
    expected = Counter({(200, 10.0): WAITING_PROBES})
    expected.update({(sent_away, SLOW_SECONDS): 100 - WAITING_PROBES, (sent_away, 10.0): 5})
    assert answered == expected
