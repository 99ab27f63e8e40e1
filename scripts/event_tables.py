"""The tables of docs/operations.md that derive from the catalogue of events, each between two comments of the page."""

from collections.abc import Iterable, Mapping

from scripts.event_schema import declared_fields, meaning
from scripts.page_tables import table
from shared.telemetry.catalogue import EVENTS, TokenAnswered
from shared.telemetry.event import Instrument
from shared.telemetry.instruments import LOST
from shared.telemetry.metrics import INSTRUMENTS, attribute


def event_tables() -> Mapping[str, str]:
    """Make every table, by its name."""
    return {"events": _events(), "fields of token": _token(), "instruments": _instruments()}


def _events() -> str:
    rows = [
        (
            f"`{event.about.name}`",
            meaning(event),
            ", ".join(f"`{field.name}`" if field.always else f"(`{field.name}`)" for field in declared_fields(event)),
            event.about.remedy or "-",
        )
        for event in EVENTS
    ]
    return table("event", "means", "fields", "what to do", rows=rows)


def _token() -> str:
    rows = [(f"`{field.name}`", field.doc.meaning) for field in declared_fields(TokenAnswered)]
    return table("field", "holds", rows=rows)


def _instruments() -> str:
    rows = [
        (f"`{each.name}`", f"`{each.unit}`", ", ".join(f"`{name}`" for name in _attributes(each)), each.meaning)
        for each in (*INSTRUMENTS, LOST)
    ]
    return table("instrument", "unit", "attributes", "counts", rows=rows)


def _attributes(instrument: Instrument) -> Iterable[str]:
    """List the attributes of an instrument, in the order in which the catalogue names them."""
    feeds = [feed for event in EVENTS for feed in event.about.feeds if feed.instrument == instrument]
    return dict.fromkeys(attribute(field) for feed in feeds for field in (*feed.by, *feed.fixed))
