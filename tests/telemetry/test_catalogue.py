"""The catalogue of events keeps its own rules, and docs/events.schema.json describes what it makes."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from shared.core import errors
from shared.core.errors import UpstreamError
from shared.telemetry.catalogue import EVENTS
from shared.telemetry.event import Event
from shared.telemetry.events import Events
from shared.tokens.reports import FAILED_ATTEMPTS
from tests.contract import ROOT, event_conforms

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "events.schema.json").read_text())
BY_TYPE: Mapping[str, Any] = {"boolean": True, "string": "0" * 12, "integer": 200, "number": 1.5, "array": ["x"]}
ENVELOPE = {"event", "time", "worker"}
FEW_VALUES = {"caller", "cause", "outcome", "profile", "route", "source", "stream"}
"""Fields whose values the two documents and the code bound."""
RULES: Mapping[tuple[str, bool], dict[str, Any]] = {
    ("token", True): {"outcome": "vended", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    ("token", False): {"status": 400, "reason": "x"},
}
"""What goes across the fields of `token`: a 200 is vended, anything else has a reason and no token."""


def always(event: type[Event]) -> set[str]:
    """List the fields that are in every line."""
    return {field.name for field in fields(event) if field.default is MISSING}


def sample(event: type[Event], *, whole: bool) -> dict[str, Any]:
    """Make values by the schema: for every field, or for those that are in every line."""
    properties = SCHEMA["$defs"][event.about.name]["properties"]
    values = {
        field.name: properties[field.name].get("enum", [BY_TYPE[properties[field.name].get("type", "string")]])[0]
        for field in fields(event)
        if whole or field.name in always(event)
    }
    return values | RULES.get((event.about.name, whole), {})


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "least"])
@pytest.mark.parametrize("event", EVENTS, ids=[event.about.name for event in EVENTS])
def test_an_event_is_as_its_schema_says(event: Any, whole: bool) -> None:  # noqa: ANN401, FBT001  # a class of events
    """Its lines conform; a line with one field more, or without a field that is in every line, does not."""
    lines: list[str] = []
    Events(lines.append, wall=lambda: 0.0, worker="w").emit(event(**sample(event, whole=whole)))
    written = json.loads(lines[0])
    assert event_conforms(lines[0]) == []
    assert Draft202012Validator(SCHEMA).is_valid(written)
    assert event_conforms(json.dumps({**written, "secret": "x"}))
    for name in {"time", "worker"} | always(event):
        assert event_conforms(json.dumps({key: value for key, value in written.items() if key != name})), name


def test_an_event_has_a_name_and_fields_of_its_own() -> None:
    """No two events are one line, and no field replaces one of the envelope."""
    assert len({event.about.name for event in EVENTS}) == len(EVENTS)
    assert [event for event in EVENTS if ENVELOPE & {field.name for field in fields(event)}] == []


@pytest.mark.parametrize("event", EVENTS, ids=[event.about.name for event in EVENTS])
def test_a_metric_takes_fields_that_the_event_has(event: type[Event]) -> None:
    """What is added and what becomes an attribute is declared; no attribute has a value that somebody can make up."""
    declared = {field.name for field in fields(event)}
    for feed in event.about.feeds:
        assert {*feed.by, feed.amount} <= declared | {""}
        assert {*feed.by, *feed.fixed} <= FEW_VALUES


def test_every_failure_to_acquire_a_token_has_its_event() -> None:
    """The core names the event of an error; the catalogue has one for each of these names, and for no other."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UpstreamError)]
    assert {kind.event for kind in kinds} == FAILED_ATTEMPTS.keys()
