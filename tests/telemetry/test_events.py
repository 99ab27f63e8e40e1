import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.telemetry.events import BUFFER, FIELDS, LONGEST_VALUE, Events, Value, log_line

# What breaks lines, terminals and formatters, beside whatever Hypothesis thinks of.
NASTY = '\r\n\x00\x1b\x7f\x85\u2028\u2029\u202e\ud800"\\%s{0.__class__}'
texts = st.text(st.characters() | st.sampled_from(NASTY), max_size=LONGEST_VALUE)
values = texts | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(texts)


def events(lines: list[str]) -> Events:
    """Make events that are written to a list."""
    return Events(lines.append, wall=lambda: 1_800_000_000.0, worker="w")


@given(event=texts, fields=st.dictionaries(st.sampled_from(sorted(FIELDS)), values))
def test_an_event_is_one_line_of_ascii_json(event: str, fields: dict[str, Value]) -> None:
    """SEC-20: whatever a caller puts into a value, it comes out whole and forges no second line."""
    lines: list[str] = []
    events(lines).emit(event, **fields)
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"event": event, "time": "2027-01-15T08:00:00.000+00:00", **fields, "worker": "w"}


def test_a_long_value_is_cut() -> None:
    """ABU-96: nobody fills the log through one value."""
    lines: list[str] = []
    events(lines).emit("token", scope="x" * 10_000, mistakes=["y" * 10_000])
    written = json.loads(lines[0])
    assert (written["scope"], written["mistakes"]) == ("x" * LONGEST_VALUE, ["y" * LONGEST_VALUE])


def test_a_field_that_is_unset_is_left_out() -> None:
    """What is not known is not written as null."""
    lines: list[str] = []
    events(lines).emit("token", caller=None)
    assert "caller" not in json.loads(lines[0])


@pytest.mark.parametrize("name", ["secret", "event_", "time", "worker", "access_token"])
def test_a_field_with_another_name_is_refused(name: str) -> None:
    """SEC-21: a positive list; nothing is written, and no field of the envelope can be replaced."""
    lines: list[str] = []
    fields: dict[str, Value] = {name: "x"}
    with pytest.raises(ValueError, match=name):
        events(lines).emit("token", **fields)
    with pytest.raises(ValueError, match=name):
        events(lines).defer("token", **fields)
    assert lines == []


def test_background_events_wait_for_the_next_flush() -> None:
    """The host drops lines that belong to no invocation, so none is written outside of one, and each but once."""
    lines: list[str] = []
    reporter = events(lines)
    reporter.defer("refresh_failed", cause="first")
    reporter.defer("refresh_failed", cause="second")
    assert lines == []
    reporter.flush()
    reporter.flush()
    assert [json.loads(line)["cause"] for line in lines] == ["first", "second"]


def test_the_buffer_is_bounded_and_counts_what_it_loses() -> None:
    """REL-38: the oldest go first."""
    lines: list[str] = []
    reporter = events(lines)
    for status in range(BUFFER + 2):
        reporter.defer("refresh_failed", status=status)
    reporter.flush()
    assert reporter.lost == 2
    assert [json.loads(line)["status"] for line in lines] == list(range(2, BUFFER + 2))


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
        reporter.emit("token")
        reporter.defer("refresh_failed")
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
