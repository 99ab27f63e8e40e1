"""`[limits]`: every bound in time, number and size that can be turned. Each promise is per worker process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from shared.core.rules import breaks

type _Order = Callable[..., bool]

PIECE_IDLE_SECONDS = 30.0
"""How long Azure Storage may be silent while it takes a piece of a file."""
PIECE_SECONDS = 60.0
"""For a piece as a whole: 70 KiB a second are enough."""

_ORDERS: Mapping[tuple[str, ...], tuple[_Order, str]] = {
    # httpcore leaves a connection open that is cancelled in the middle of its TLS handshake, so its own timeout for
    # that, which it applies to TCP and to TLS, must end it first.
    ("connect_seconds", "attempt_seconds"): (
        lambda connect, attempt: 2 * connect < attempt,
        "connect_seconds: must be less than half of attempt_seconds",
    ),
    ("graph_first_byte_seconds", "graph_page_seconds"): (
        lambda first, whole: first <= whole,
        "graph_first_byte_seconds: must be at most graph_page_seconds",
    ),
    ("connect_seconds", "graph_page_seconds"): (
        lambda connect, whole: 2 * connect < whole,
        "graph_page_seconds: must be more than twice connect_seconds",
    ),
    ("refresh_fraction_min", "refresh_fraction_max"): (
        lambda least, most: least <= most < 1,
        "refresh_fraction_max: must lie between refresh_fraction_min and 1",
    ),
    ("expiry_margin_seconds", "min_remaining_failing_seconds", "min_remaining_seconds"): (
        lambda margin, failing, ordinary: margin < failing <= ordinary,
        "min_remaining_failing_seconds: must be more than expiry_margin_seconds, and at most min_remaining_seconds",
    ),
    ("failure_first_seconds", "failure_max_seconds"): (
        lambda first, most: first <= most,
        "failure_max_seconds: must be at least failure_first_seconds",
    ),
    ("callers_refresh_seconds", "callers_must_check_seconds", "callers_max_age_seconds"): (
        lambda refresh, must, most: refresh <= must <= most,
        "callers_must_check_seconds: must lie between callers_refresh_seconds and callers_max_age_seconds",
    ),
}
"""Which limits must agree: their names, the rule, and the mistake by the key that breaks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The knobs, with the values that production runs with; docs/configuration.md says what each is for."""

    connect_seconds: float = 2
    read_idle_seconds: float = 5
    attempt_seconds: float = 8
    caller_budget_seconds: float = 20
    attempts_per_flight: int = 2
    failure_first_seconds: float = 5
    failure_max_seconds: float = 240
    failure_permanent_seconds: float = 60
    retry_after_cap_seconds: float = 3_600
    refresh_fraction_min: float = 0.55
    refresh_fraction_max: float = 0.65
    short_wait_seconds: float = 1
    min_remaining_seconds: float = 300
    min_remaining_failing_seconds: float = 60
    expiry_margin_seconds: float = 10
    forced_refresh_interval_seconds: float = 30
    shed_after_seconds: float = 5
    waiting_max: int = 64
    claims_per_minute: int = 6
    cache_entries: int = 1_000
    upstream_body_bytes: int = 100 * 1024
    graph_first_byte_seconds: float = 60
    graph_page_seconds: float = 120
    graph_page_bytes: int = 8 * 1024 * 1024
    vault_reread_seconds: float = 6 * 3600
    callers_refresh_seconds: float = 15
    callers_must_check_seconds: float = 30
    callers_deadline_seconds: float = 2
    callers_max_age_seconds: float = 24 * 3600
    unknown_keys_per_minute: int = 60

    @property
    def of_graph(self) -> "Limits":
        """The knobs of an upstream, for Graph: its pages take their time, and no caller waits for them."""
        return replace(
            self,
            read_idle_seconds=self.graph_first_byte_seconds,
            attempt_seconds=self.graph_page_seconds,
            upstream_body_bytes=self.graph_page_bytes,
        )

    @property
    def of_pieces(self) -> "Limits":
        """The knobs of an upstream, for a file that comes and goes in pieces of some MiB: nobody waits for one."""
        return replace(
            self,
            read_idle_seconds=max(self.read_idle_seconds, PIECE_IDLE_SECONDS),
            attempt_seconds=max(self.attempt_seconds, PIECE_SECONDS),
        )

    def mistakes(self, at: str) -> list[str]:
        """List what is wrong with values that have the right type."""
        values = {knob.name: getattr(self, knob.name) for knob in fields(self)}
        found = [f"{at}.{name}: must be above 0" for name, value in values.items() if breaks(lambda x: x > 0, value)]
        found += [
            f"{at}.{mistake}" for names, (rule, mistake) in _ORDERS.items() if breaks(rule, *map(values.get, names))
        ]
        return found
