"""How an event is declared: what it means, what the operator should do, its fields, and what it is counted by."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, dataclass_transform


class Doc(NamedTuple):
    """The documentation of a field, as metadata of its type: `Annotated[int, Doc("seconds until the next try")]`.

    Args:
        meaning: what the field holds.
        form: keywords of JSON Schema that the type does not imply, such as `minimum`.
    """

    meaning: str
    form: Mapping[str, Any] = MappingProxyType({})


class Instrument(NamedTuple):
    """A metric, as OpenTelemetry names it.

    Args:
        name: of the instrument.
        unit: by https://ucum.org, or what is counted, in braces.
        meaning: one phrase, for the documentation and for the description of the instrument.
        buckets: upper bounds in seconds. With them the instrument is a histogram of durations, else a counter.
    """

    name: str
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()


class Feed(NamedTuple):
    """The amount that one event adds to an instrument.

    Args:
        instrument: what the event is counted by.
        by: fields whose values become attributes. Their values must be few: no scope, no tenant, no id.
        amount: the field that is added; milliseconds where the instrument is a histogram. "" adds 1.
        fixed: attributes with one value for every event of the kind, named as a field would be.
    """

    instrument: Instrument
    by: tuple[str, ...] = ()
    amount: str = ""
    fixed: Mapping[str, str] = MappingProxyType({})


class About(NamedTuple):
    """The declaration of an event, beside its fields.

    Args:
        name: what the field `event` of the line says; alerts and queries depend on it.
        remedy: what the operator should do; "" where there is nothing to do.
        feeds: what the event is counted by.
    """

    name: str
    remedy: str = ""
    feeds: tuple[Feed, ...] = ()


@dataclass(slots=True)
class Event:
    """Base of the events in `catalogue/`."""

    about: ClassVar[About]


@dataclass_transform(kw_only_default=True)
def declared[T: Event](event: type[T]) -> type[T]:
    """Make a dataclass of an event; each takes a worker's start some time, so that it has no more than it needs.

    It is not frozen: that would triple the cost of making one. It is not compared, and has no `repr` to be logged.
    """
    return dataclass(slots=True, kw_only=True, eq=False, repr=False)(event)


class Reports(Protocol):
    """Takes events."""

    def emit(self, event: Event) -> None:
        """Take one, at once or when it is true."""
