"""What a line of the audit holds: the one event that every answer to a request for a token leaves in the log."""

from typing import Any

from shared.api.routes import ROUTES
from shared.core import errors
from shared.telemetry.events import LONGEST_VALUE

_TEXT: dict[str, Any] = {"type": "string", "maxLength": LONGEST_VALUE}
_OUTCOMES = sorted(
    {"vended"} | {kind.error for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "error")}
)
_FIELDS: dict[str, dict[str, Any]] = {
    "event": {"const": "token"},
    "time": {"type": "string", "format": "date-time"},
    "correlation_id": _TEXT,
    "route": {"enum": [route.name for route in ROUTES]},
    "caller": _TEXT,
    "profile": _TEXT,
    "tenant_id": _TEXT,
    "scope": _TEXT,
    "status": {"type": "integer", "minimum": 200, "maximum": 599},
    "outcome": {"enum": _OUTCOMES},
    "reason": _TEXT,
    "source": {"enum": ["cache", "identity_provider"]},
    "token": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
    "uti": _TEXT,
    "expires_on": {"type": "integer"},
    "latency_ms": {"type": "number", "minimum": 0},
    "worker": _TEXT,
}
"""Each field of the event `token`: a new one is one line here."""
_ALWAYS = ["event", "time", "correlation_id", "route", "status", "outcome", "worker"]


def audit_schema() -> dict[str, Any]:
    """Describe the event `token`; its set of fields is closed, so that nothing else can leave unseen."""
    return {
        "title": "The event `token`: one line for each answer to a request for a token",
        "type": "object",
        "properties": _FIELDS,
        "required": _ALWAYS,
        "additionalProperties": False,
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
