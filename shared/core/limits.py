"""`[limits]`: every bound in time, number and size that can be turned. Each promise is per worker process."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from shared.core.rules import breaks

PIECE_IDLE_SECONDS = 30.0
"""How long Azure Storage may be silent while it takes a piece of a file."""
PIECE_SECONDS = 60.0
"""For a piece as a whole: 70 KiB a second are enough."""
OF_GRAPH = ("graph_first_byte_seconds", "graph_page_seconds", "graph_page_bytes")
"""The knobs that bound the sync alone."""


class _Order(NamedTuple):
    """A rule between limits.

    Args:
        names: which ones, in the order in which `holds` takes them.
        holds: whether they agree.
        breaker: the one of them that is named as the mistake.
        must: what it must be, in words.
    """

    names: tuple[str, ...]
    holds: Callable[..., bool]
    breaker: str
    must: str


_ORDERS = (
    # httpcore leaves a connection open that is cancelled in the middle of its TLS handshake. So its own timeout, which
    # it applies to TCP and to TLS, must end the handshake first.
    _Order(
        ("connect_seconds", "attempt_seconds"),
        lambda connect, attempt: 2 * connect < attempt,
        "connect_seconds",
        "less than half of attempt_seconds",
    ),
    _Order(
        ("graph_first_byte_seconds", "graph_page_seconds"),
        lambda first, whole: first <= whole,
        "graph_first_byte_seconds",
        "at most graph_page_seconds",
    ),
    _Order(
        ("connect_seconds", "graph_page_seconds"),
        lambda connect, whole: 2 * connect < whole,
        "graph_page_seconds",
        "more than twice connect_seconds",
    ),
    _Order(
        ("refresh_fraction_min", "refresh_fraction_max"),
        lambda least, most: least <= most < 1,
        "refresh_fraction_max",
        "at least refresh_fraction_min, and less than 1",
    ),
    _Order(
        ("expiry_margin_seconds", "min_remaining_failing_seconds", "min_remaining_seconds"),
        lambda margin, failing, ordinary: margin < failing <= ordinary,
        "min_remaining_failing_seconds",
        "more than expiry_margin_seconds, and at most min_remaining_seconds",
    ),
    _Order(
        ("failure_first_seconds", "failure_max_seconds"),
        lambda first, most: first <= most,
        "failure_max_seconds",
        "at least failure_first_seconds",
    ),
    _Order(
        ("callers_refresh_seconds", "callers_must_check_seconds", "callers_max_age_seconds"),
        lambda refresh, must, most: refresh <= must <= most,
        "callers_must_check_seconds",
        "at least callers_refresh_seconds, and at most callers_max_age_seconds",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The knobs, with the values that production runs with, and what each bounds."""

    connect_seconds: float = field(default=2, metadata={"why": "the longest time to connect, and again for TLS"})
    read_idle_seconds: float = field(default=5, metadata={"why": "the longest pause between two pieces of an answer"})
    attempt_seconds: float = field(
        default=8, metadata={"why": "the longest time for one request to an outside service"}
    )
    caller_budget_seconds: float = field(
        default=20,
        metadata={
            "why": "the longest time that a caller waits for a token; then vend answers 504. "
            "A worker without a callers document may take up to `attempt_seconds` longer"
        },
    )
    attempts_per_flight: int = field(
        default=2,
        metadata={"why": "tries of one flight, a second apart; only one if Entra named a wait or refused"},
    )
    failure_first_seconds: float = field(
        default=5,
        metadata={
            "why": "how long vend does not ask Entra after a transient failure; after each further one 1.5 times that"
        },
    )
    failure_max_seconds: float = field(default=240, metadata={"why": "the longest such time"})
    failure_permanent_seconds: float = field(
        default=60, metadata={"why": "how long vend does not ask Entra after a refusal"}
    )
    retry_after_cap_seconds: float = field(
        default=3_600, metadata={"why": "the longest wait that vend takes from Entra's `Retry-After`"}
    )
    refresh_fraction_min: float = field(
        default=0.55,
        metadata={"why": "vend refreshes a token when a share of its life is left; this is the smallest such share"},
    )
    refresh_fraction_max: float = field(
        default=0.65,
        metadata={"why": "the largest such share; for each token vend draws a share between the two"},
    )
    short_wait_seconds: float = field(
        default=1, metadata={"why": "how long a caller waits for a newer token when the cached one is near its end"}
    )
    min_remaining_seconds: float = field(
        default=300,
        metadata={
            "why": "how much time a token must have left, so that vend serves it at once: this, or a tenth of the life "
            "of the token if that is shorter"
        },
    )
    min_remaining_failing_seconds: float = field(
        default=60,
        metadata={
            "why": "how much time a token must have left, so that vend serves it while it can get no newer one. "
            "For a token whose whole life is under ten minutes: this, or half of its life if that is shorter"
        },
    )
    expiry_margin_seconds: float = field(
        default=10, metadata={"why": "vend subtracts this from `expires_in`, for network time and the caller's clock"}
    )
    forced_refresh_interval_seconds: float = field(
        default=30,
        metadata={
            "why": "the shortest time between two flights for one claims challenge, or for a token that an API rejected"
        },
    )
    shed_after_seconds: float = field(
        default=5,
        metadata={
            "why": "the age from which a flight, or a read of the callers document, counts as late. "
            "If the last flight failed by an outage, the next one counts as late after two fifths of this",
        },
    )
    waiting_max: int = field(
        default=64,
        metadata={
            "why": "requests that may wait for late flights, and as many for a late callers document; "
            "if there are more, vend answers 503 to the newest ones"
        },
    )
    claims_per_minute: int = field(
        default=6, metadata={"why": "claims challenges of one caller; vend answers 429 to more"}
    )
    cache_entries: int = field(
        default=1_000, metadata={"why": "tokens in the cache; a further one replaces the least recently used"}
    )
    upstream_body_bytes: int = field(default=100 * 1024, metadata={"why": "the largest answer of an outside service"})
    graph_first_byte_seconds: float = field(
        default=60,
        metadata={"why": "the longest pause before the first piece of a page of Graph, and between two pieces"},
    )
    graph_page_seconds: float = field(default=120, metadata={"why": "the longest time for one page of Graph"})
    graph_page_bytes: int = field(default=8 * 1024 * 1024, metadata={"why": "the largest page of Graph"})
    vault_reread_seconds: float = field(
        default=6 * 3600, metadata={"why": "how long vend uses what it read about a certificate in Key Vault"}
    )
    callers_refresh_seconds: float = field(
        default=15, metadata={"why": "the age from which vend checks the callers document in the background"}
    )
    callers_must_check_seconds: float = field(
        default=30, metadata={"why": "the age from which vend checks the callers document before it answers"}
    )
    callers_deadline_seconds: float = field(default=2, metadata={"why": "how long an answer waits for that check"})
    callers_max_age_seconds: float = field(
        default=24 * 3600, metadata={"why": "how long the last good callers document stays in force"}
    )
    unknown_keys_per_minute: int = field(
        default=60,
        metadata={
            "why": "refusals of unknown callers that get a line of their own in the log, on the routes "
            "where vend alone checks the key; vend only counts further ones"
        },
    )

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
            f"{at}.{order.breaker}: must be {order.must}"
            for order in _ORDERS
            if breaks(order.holds, *map(values.get, order.names))
        ]
        return found


def bounds(name: str) -> list[str]:
    """Return what a limit must be beside above 0, in words."""
    return [order.must for order in _ORDERS if order.breaker == name]
