"""`./vend watch`: every event of the local app, and what a caller sees beside them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.responses import Response
from typer.testing import Result

from cli.patience import Patience
from emulator.tour.site import SCOPE, SHOP_SCOPES, Site, ask
from emulator.tour.spoil import NO_TOML
from emulator.tour.tour import OTHER_SCOPE
from tests.cli.conftest import KEY, Oracle, Run

ANSWER = r"billing graph\.microsoft\.com 200 (cache|identity_provider) [\d.]+ ms [0-9a-f]{12}"
TIME = r"\d\d:\d\d:\d\d "


@dataclass
class Time:
    """A clock that runs when the command sleeps; what happens meanwhile is done at its first sleep."""

    meanwhile: Callable[[], object] = lambda: None
    moment: float = field(default=0.0, init=False)

    def patience(self) -> Patience:
        """Return how the command waits."""
        return Patience(lambda: self.moment, self.sleep, lambda: 1_795_000_000 + self.moment)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        self.moment += seconds


def watch(run: Run, site: Site, *words: str, meanwhile: Callable[[], object] = lambda: None, **others: str) -> Result:
    """Watch the site for two seconds of that clock."""
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / "billing.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
    }
    return run("watch", *words, "--for", "2s", obj=Time(meanwhile).patience(), **{**environ, **others})


def test_each_event_is_a_line(run: Run, site: Site) -> None:
    """FND-E7. Who got which token, from where and how fast, or why not; other events by name; none from before."""

    def happen() -> None:
        ask(site)
        ask(site, OTHER_SCOPE)
        with (site.folder / "app.log").open("a") as log:
            log.write('{"event":"region_refused","time":"2026-11-23T14:43:17+00:00","region":"x y","worker":"w"}\nhalf')

    ask(site)
    first, *lines = watch(run, site, meanwhile=happen).stdout.splitlines()
    with (site.folder / "app.log").open("a") as log:
        log.write("\n")
    assert first == f"Watching {site.folder}/app.log. Ctrl-C ends it."
    expected = (
        TIME + ANSWER,
        TIME
        + r"billing vault\.azure\.net 400 invalid_scope [\d.]+ ms \(no entry lists this scope\)"
        + re.escape(f": ./vend callers explain billing --scope {OTHER_SCOPE}"),
        '14:43:17 region_refused region="x y"',
    )
    assert len(lines) == len(expected)
    for line, form in zip(lines, expected, strict=True):
        assert re.fullmatch(form, line)


def test_a_caller_asks_each_second(run: Run, site: Site) -> None:
    """It asks for the first scope that it may have; what it was given is not shown a second time."""
    first, *lines = watch(run, site, "billing", meanwhile=lambda: ask(site)).stdout.splitlines()
    assert first == f"Watching {site.folder}/app.log and billing, who asks for {SCOPE} each second. Ctrl-C ends it."
    sees = TIME + r"billing sees 200 (cache|identity_provider) \d+ ms, \d+ s left, [0-9a-f]{12}"
    assert [bool(re.fullmatch(sees, line)) for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"status": 502, "outcome": "server_error", "reason": "AADSTS700027"},
            "502 server_error (AADSTS700027): make the certificate known to the app registration (docs/credentials.md)",
        ),
        (
            {"status": 503, "outcome": "temporarily_unavailable", "reason": "login.microsoftonline.com: timeout"},
            "503 temporarily_unavailable (login.microsoftonline.com: timeout): wait",
        ),
        (
            {"status": 500, "outcome": "server_error", "reason": "KeyError"},
            "500 server_error (KeyError)",
        ),
    ],
    ids=["number", "outage", "unknown"],
)
def test_what_a_caller_was_refused_for_is_shown(
    run: Run, oracle: tuple[Oracle, str], tmp_path: Path, facts: dict[str, object], says: str
) -> None:
    """Also of the caller that asks, whose answer has no cause: that of the event, and what to do, up to its details."""
    _, url = oracle
    log = tmp_path / "app.log"
    log.touch()
    event = {"event": "token", "time": "2026-11-23T14:43:17+00:00", "caller": "billing", "scope": SCOPE} | facts
    words = ("watch", "billing", "--scope", SCOPE, "--log", str(log), "--for", "1s", "--app", url)
    done = run(*words, obj=Time(lambda: log.write_text(f"{json.dumps(event)}\n")).patience(), VEND_KEY=KEY)
    assert done.stdout.splitlines()[-1] == f"14:43:17 billing graph.microsoft.com {says}"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            Response('{"error": "temporarily_unavailable", "retryable": true}', 503, {"retry-after": "7"}),
            r"503 temporarily_unavailable \d+ ms, retry after 7 s",
        ),
        (
            Response('{"error": "server_error", "retryable": false}', 502, {"retry-after": "59"}),
            r"502 server_error \d+ ms, retry once the cause is corrected; the answer stays the same for up to 59 s",
        ),
        (Response("<html>", 401), r"401  \d+ ms"),
    ],
    ids=["passing", "to be corrected", "host"],
)
def test_what_a_caller_sees_is_shown_as_it_is(
    run: Run, oracle: tuple[Oracle, str], tmp_path: Path, answer: Response, says: str
) -> None:
    """Errors too, with the wait that they name; no key and no token."""
    serving, url = oracle
    serving.answer = answer
    (tmp_path / "app.log").touch()
    words = ("watch", "billing", "--scope", SCOPE, "--log", str(tmp_path / "app.log"), "--for", "1s", "--app", url)
    done = run(*words, obj=Time().patience(), VEND_KEY=KEY)
    assert re.fullmatch(rf"{TIME}billing sees {says}", done.stdout.splitlines()[1])
    assert (done.exit_code, KEY in done.output) == (0, False)


@pytest.mark.parametrize("has_had_a_token", [True, False])
def test_a_document_with_a_mistake_leads_to_the_scope(
    run: Run, site: Site, tmp_path: Path, *, has_had_a_token: bool
) -> None:
    """An operator who rehearses `callers` still sees what a caller gets: the scope is that of its last token.

    The mistake is printed, too. Without such a token the command lists what to name. A refusal and another caller's
    token do not count.
    """
    callers = tmp_path / "callers.toml"
    callers.write_bytes((site.folder / "callers.toml").read_bytes() + NO_TOML)
    config = (site.folder / "vend.toml").read_text().replace(str(site.folder / "callers.toml"), str(callers))
    (tmp_path / "vend.toml").write_text(config)
    given = {"event": "token", "caller": "billing", "scope": SCOPE, "outcome": "vended" if has_had_a_token else "x"}
    others = ({"scope": OTHER_SCOPE, "outcome": "invalid_scope"}, {"scope": OTHER_SCOPE, "caller": "shop"})
    events = [given, *({**given, **other} for other in others)]
    (tmp_path / "app.log").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    done = watch(run, site, "billing", VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert "is not valid TOML" in done.stderr
    if has_had_a_token:
        told = f"--scope {SCOPE}, that of the last token of billing by {tmp_path}/app.log\n"
        assert (done.exit_code, done.stdout.count("billing sees 200 ")) == (0, 2)
    else:
        options = "".join(f"--scope {scope}\n" for scope in (SCOPE, *SHOP_SCOPES))
        told = f"The scopes of billing are not known. Name one of {tmp_path}/vend.toml:\n{options}"
        assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith(told)


def test_it_ends_with_the_app(run: Run, tmp_path: Path) -> None:
    """FND-E15. The host says so in its last line; else a killed `make run` would leave the command behind."""
    log = tmp_path / "app.log"
    log.touch()
    time = Time(lambda: log.write_text("Stopped; dropped 0 log lines that belonged to no running invocation\n"))
    done = run("watch", "--log", str(log), obj=time.patience())
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["The app has stopped."])


def test_without_a_log_and_a_caller_there_is_nothing_to_watch(run: Run, tmp_path: Path) -> None:
    """The message leads to `make run`."""
    done = run("watch", VEND_CONFIG=str(tmp_path / "vend.toml"))
    assert (done.exit_code, done.stderr.splitlines()[0]) == (1, "There is no log of a `make run` here.")
