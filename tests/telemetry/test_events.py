import json
import logging
from dataclasses import asdict, dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.telemetry.catalogue import EVENTS, CallersInvalid, RequestsUnlogged, SettingsInvalid, TokenAnswered
from shared.telemetry.event import About, Event
from shared.telemetry.events import BUFFER, LONGEST_LINE, LONGEST_VALUE, Events, log_line

# What breaks lines, terminals and formatters, beside whatever Hypothesis thinks of.
NASTY = '\r\n\x00\x1b\x7f\x85\u2028\u2029\u202e\ud800"\\%s{0.__class__}'
texts = st.text(st.characters() | st.sampled_from(NASTY), max_size=LONGEST_VALUE)
values: st.SearchStrategy[Any] = (
    texts | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(texts)
)


def events(lines: list[str]) -> Events:
    """Make events that are written to a list."""
    return Events(lines.append, wall=lambda: 1_800_000_000.0, worker="w")


def any_event(kind: type[Event]) -> st.SearchStrategy[Any]:
    """Make events of a kind, with any value in any field."""
    return st.builds(kind, **{field.name: values for field in fields(kind)})


def answered(*, caller: str | None = None, scope: str | None = None) -> TokenAnswered:
    """Make the event of an answer."""
    return TokenAnswered(correlation_id="c", route="token", status=200, outcome="vended", caller=caller, scope=scope)


@given(event=st.sampled_from(EVENTS).flatmap(any_event))
def test_an_event_is_one_line_of_ascii_json(event: Any) -> None:  # noqa: ANN401  # an event of any kind
    """SEC-20: whatever a caller puts into a value, it comes out whole and forges no second line."""
    lines: list[str] = []
    events(lines).emit(event)
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    envelope = {"event": event.about.name, "time": "2027-01-15T08:00:00.000+00:00", "worker": "w"}
    assert json.loads(line) == {**envelope, **asdict(event)}


def test_a_long_value_is_cut() -> None:
    """ABU-96: nobody fills the log through one value."""
    lines: list[str] = []
    events(lines).emit(answered(scope="x" * 10_000))
    events(lines).emit(SettingsInvalid(mistakes=["y" * 10_000]))
    scope, mistakes = json.loads(lines[0])["scope"], json.loads(lines[1])["mistakes"]
    assert (scope, mistakes) == ("x" * LONGEST_VALUE, ["y" * LONGEST_VALUE])


@pytest.mark.parametrize("text", ["x" * 600, "\u202e" * 600, '"' * 600])
def test_a_line_fits_into_a_message(text: str) -> None:
    """FND-B3: 900 mistakes are the first ones and their number, whatever is in them, in JSON that can be parsed."""
    lines: list[str] = []
    Events(lines.append, wall=lambda: 0.0, worker="w").emit(SettingsInvalid(mistakes=[text] * 900))
    assert len(lines[0]) <= LONGEST_LINE
    mistakes = json.loads(lines[0])["mistakes"]
    assert mistakes[-1] == "and 880 more"
    assert {mistake[:50] for mistake in mistakes[:-1]} == {text[:50]}


def test_a_field_that_is_unset_is_left_out() -> None:
    """What is not known is not written as null."""
    lines: list[str] = []
    events(lines).emit(answered(caller=None))
    assert "caller" not in json.loads(lines[0])


@pytest.mark.parametrize("name", ["secret", "event_", "time", "worker", "access_token"])
def test_a_field_with_another_name_is_refused(name: str) -> None:
    """SEC-21: a positive list; a field cannot be added later either, and none of the envelope can be replaced."""
    event: Any = RequestsUnlogged
    with pytest.raises(TypeError, match=name):
        event(outcome="invalid_client", count=1, **{name: "x"})
    with pytest.raises(AttributeError, match=name):
        setattr(event(outcome="invalid_client", count=1), name, "x")


@dataclass(slots=True, kw_only=True)
class Undeclared(CallersInvalid):
    """An event that is not in the catalogue, and has one field more than its base."""

    about = About("callers_invalid")

    secret: str


def test_an_event_that_is_not_in_the_catalogue_is_refused() -> None:
    """SEC-21: no schema describes it, so nothing of it is written, now or later."""
    lines: list[str] = []
    reporter = events(lines)
    for report in (reporter.emit, reporter.defer):
        with pytest.raises(ValueError, match="Undeclared"):
            report(Undeclared(outcome="none", newest="0" * 12, mistakes=[], secret="x"))
    reporter.flush()
    assert lines == []


def test_background_events_wait_for_the_next_flush() -> None:
    """The host drops lines that belong to no invocation, so none is written outside of one, and each but once."""
    lines: list[str] = []
    reporter = events(lines)
    reporter.defer(RequestsUnlogged(outcome="invalid_client", count=1))
    reporter.defer(RequestsUnlogged(outcome="invalid_client", count=2))
    assert lines == []
    reporter.flush()
    reporter.flush()
    assert [json.loads(line)["count"] for line in lines] == [1, 2]


def test_the_buffer_is_bounded_and_counts_what_it_loses() -> None:
    """REL-38: the oldest go first."""
    lines: list[str] = []
    reporter = events(lines)
    for count in range(BUFFER + 2):
        reporter.defer(RequestsUnlogged(outcome="invalid_client", count=count))
    reporter.flush()
    assert reporter.lost == 2
    assert [json.loads(line)["count"] for line in lines] == list(range(2, BUFFER + 2))


class Broken(logging.Handler):
    """A log handler that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise OSError(record.name)


def test_a_log_handler_that_raises_breaks_nothing() -> None:
    """REL-37: the answer is given, and the loss is counted."""
    logger = logging.getLogger("vend")
    handler, level = Broken(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        reporter = Events(log_line, wall=lambda: 0.0, worker="w")
        reporter.emit(answered())
        reporter.defer(RequestsUnlogged(outcome="invalid_client", count=1))
        reporter.flush()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert reporter.lost == 2


def test_a_percent_sign_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    """The line is the message as it stands: logging interpolates nothing into it."""
    with caplog.at_level(logging.INFO, logger="vend"):
        log_line("%s %(name)s {0}")
    assert caplog.messages == ["%s %(name)s {0}"]
