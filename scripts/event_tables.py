"""The tables of docs/operations.md that derive from the catalogue of events, each between two comments of the page."""

from collections.abc import Iterable, Mapping

from scripts.event_schema import declared_fields, meaning
from shared.telemetry.catalogue import EVENTS, TokenAnswered
from shared.telemetry.event import Instrument
from shared.telemetry.metrics import INSTRUMENTS, LOST, attribute


def with_tables(page: str) -> str:
    """Return the page with every table as the catalogue makes it."""
    tables: Mapping[str, str] = {"events": _events(), "fields of token": _token(), "instruments": _instruments()}
    for name, table in tables.items():
        begin, end = f"<!-- make schemas: {name} -->\n\n", "\n<!-- end -->\n"
        before, rest = page.split(begin)
        _, after = rest.split(end, maxsplit=1)
        page = before + begin + table + end + after
    return page


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
    return _table("event", "means", "fields", "what to do", rows=rows)


def _token() -> str:
    rows = [(f"`{field.name}`", field.doc.meaning) for field in declared_fields(TokenAnswered)]
    return _table("field", "holds", rows=rows)


def _instruments() -> str:
    rows = [
        (f"`{each.name}`", f"`{each.unit}`", ", ".join(f"`{name}`" for name in _attributes(each)), each.meaning)
        for each in (*INSTRUMENTS, LOST)
    ]
    return _table("instrument", "unit", "attributes", "counts", rows=rows)


def _attributes(instrument: Instrument) -> Iterable[str]:
    """List the attributes of an instrument, in the order in which the catalogue names them."""
    feeds = [feed for event in EVENTS for feed in event.about.feeds if feed.instrument == instrument]
    return dict.fromkeys(attribute(field) for feed in feeds for field in (*feed.by, *feed.fixed))


def _table(*head: str, rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
