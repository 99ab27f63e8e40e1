"""The JSON Schema of vend's events: what each line of the log holds, from the catalogue of events."""

import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from shared.api.routes import ROUTES
from shared.core import errors
from shared.telemetry.catalogue import EVENTS, TokenAnswered
from shared.telemetry.event import Doc, Event
from shared.telemetry.events import LONGEST_VALUE

type Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "maxLength": LONGEST_VALUE}
_TYPES: Mapping[object, Schema] = {
    str: _TEXT,
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    list[str]: {"type": "array", "items": _TEXT},
}
_OUTCOMES = sorted(
    {"vended"} | {kind.error for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "error")}
)
_TOKEN_FORMS: Mapping[str, Schema] = {
    "route": {"enum": [route.name for route in ROUTES]},
    "outcome": {"enum": _OUTCOMES},
}
"""What the catalogue cannot know of the fields of `token`: it lies below the routes."""
_TOKEN_RULES: Schema = {
    "if": {"properties": {"status": {"const": 200}}},
    "then": {
        "properties": {"outcome": {"const": "vended"}},
        "required": ["caller", "profile", "tenant_id", "scope", "source", "token", "expires_on"],
    },
    "else": {
        "properties": {"outcome": {"not": {"const": "vended"}}, "token": False, "source": False},
        "required": ["reason"],
    },
}
"""What the status of an answer says about the other fields of `token`."""


class Declared(NamedTuple):
    """A field of an event, as its class declares it.

    Args:
        name: in the line.
        kind: its type.
        doc: its documentation.
        always: whether every line of the event has it.
    """

    name: str
    kind: object
    doc: Doc
    always: bool


def event_schema() -> Schema:
    """Describe every event; each is closed, so that no field can leave unseen."""
    return {
        "title": "One line of vend's log",
        "oneOf": [{"$ref": f"#/$defs/{kind.about.name}"} for kind in EVENTS],
        "$defs": {kind.about.name: _event(kind) for kind in EVENTS},
    }


def declared_fields(event: type[Event]) -> list[Declared]:
    """List the fields of an event."""
    hints = get_type_hints(event, include_extras=True)
    return [_declared(field, hints[field.name]) for field in dataclasses.fields(event)]


def meaning(event: type[Event]) -> str:
    """Return what an event means."""
    return " ".join((event.__doc__ or "").split())


def _declared(field: dataclasses.Field[Any], hint: object) -> Declared:
    hints = get_args(hint) if get_origin(hint) is Union else (hint,)
    (annotated,) = (part for part in hints if part is not NoneType)
    kind, doc = get_args(annotated)
    return Declared(field.name, kind, doc, always=field.default is dataclasses.MISSING)


def _event(event: type[Event]) -> Schema:
    forms, rules = (_TOKEN_FORMS, _TOKEN_RULES) if event is TokenAnswered else ({}, {})
    fields = declared_fields(event)
    return {
        "description": meaning(event),
        "type": "object",
        "properties": {
            "event": {"const": event.about.name},
            "time": {"description": "when it happened", "type": "string", "format": "date-time"},
            **{field.name: {**_field(field), **forms.get(field.name, {})} for field in fields},
            "worker": {"description": "the worker process that logged the event", **_TEXT},
        },
        "required": ["event", "time", *(field.name for field in fields if field.always), "worker"],
        "additionalProperties": False,
        **rules,
    }


def _field(field: Declared) -> Schema:
    form = {"enum": list(get_args(field.kind))} if get_origin(field.kind) is Literal else _TYPES[field.kind]
    return {"description": field.doc.meaning, **form, **field.doc.form}
