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
    """The bounds that can be changed. The defaults are what production runs with.

    The metadata of a knob have what it bounds (`why`), and the table of docs/configuration.md that it is in (`of`).
    """

    connect_seconds: float = field(
        default=2,
        metadata={
            "of": "a request",
            "why": "the longest time to open a TCP connection, and again the longest time for its TLS handshake",
        },
    )
    read_idle_seconds: float = field(
        default=5,
        metadata={"of": "a request", "why": "the longest time without a piece of the answer of an outside service"},
    )
    attempt_seconds: float = field(
        default=8,
        metadata={
            "of": "a request",
            "why": "the longest time for one request to an outside service, to the end of the answer",
        },
    )
    upstream_body_bytes: int = field(
        default=100 * 1024, metadata={"of": "a request", "why": "the largest answer of an outside service"}
    )
    caller_budget_seconds: float = field(
        default=20,
        metadata={
            "of": "a flight",
            "why": "the longest time to get a token; then vend answers 504 to the callers that wait for the token",
        },
    )
    attempts_per_flight: int = field(
        default=2,
        metadata={
            "of": "a flight",
            "why": "the most tries to get one token, a second apart; a refused credential does not count as a try",
        },
    )
    forced_refresh_interval_seconds: float = field(
        default=30,
        metadata={
            "of": "a flight",
            "why": "the shortest time between two requests to Entra for one claims challenge or rejected token",
        },
    )
    refresh_fraction_min: float = field(
        default=0.55,
        metadata={
            "of": "a token",
            "why": "the smallest share of a token's life that is left when vend refreshes the token",
        },
    )
    refresh_fraction_max: float = field(
        default=0.65,
        metadata={
            "of": "a token",
            "why": "the largest share of a token's life that is left when vend refreshes the token",
        },
    )
    min_remaining_seconds: float = field(
        default=300,
        metadata={
            "of": "a token",
            "why": "the time before the end of a token from which requests wait for a newer token",
        },
    )
    short_wait_seconds: float = field(
        default=1,
        metadata={"of": "a token", "why": "how long a request waits for a newer token before it gets the cached one"},
    )
    min_remaining_failing_seconds: float = field(
        default=60,
        metadata={
            "of": "a token",
            "why": "the time before the end of a token from which vend no longer serves the token",
        },
    )
    expiry_margin_seconds: float = field(
        default=10,
        metadata={
            "of": "a token",
            "why": "what vend subtracts from `expires_in`, for network time and the caller's clock",
        },
    )
    cache_entries: int = field(
        default=1_000,
        metadata={
            "of": "a token",
            "why": "the most tokens in the cache; a further one replaces the least recently used",
        },
    )
    failure_first_seconds: float = field(
        default=5,
        metadata={
            "of": "a failure",
            "why": "how long vend does not ask Entra for a token again after one failure that may pass",
        },
    )
    failure_max_seconds: float = field(
        default=240,
        metadata={
            "of": "a failure",
            "why": "how long vend does not ask Entra for a token again after many failures in a row that may pass",
        },
    )
    failure_permanent_seconds: float = field(
        default=60,
        metadata={
            "of": "a failure",
            "why": "how long vend does not ask Entra for a token again after a refusal, if no other credential is left",
        },
    )
    retry_after_cap_seconds: float = field(
        default=3_600,
        metadata={
            "of": "a failure",
            "why": "the longest wait that vend takes from a `Retry-After`, of Entra, Key Vault or the managed identity",
        },
    )
    shed_after_seconds: float = field(
        default=5,
        metadata={
            "of": "a crowd",
            "why": "the time after which a token, the callers document or an issuer's keys count as late",
        },
    )
    waiting_max: int = field(
        default=64,
        metadata={
            "of": "a crowd",
            "why": "the most requests that wait for late tokens, and the most that wait for a late callers document",
        },
    )
    claims_per_minute: int = field(
        default=6,
        metadata={
            "of": "a crowd",
            "why": "the most claims challenges of one caller; as many may come at once. vend answers 429 to more",
        },
    )
    unknown_keys_per_minute: int = field(
        default=60,
        metadata={
            "of": "a crowd",
            "why": "the most log lines for refused identity tokens, and for unknown keys that vend alone checks",
        },
    )
    callers_refresh_seconds: float = field(
        default=15,
        metadata={
            "of": "a document",
            "why": "the age of the last check from which vend checks the callers document in the background",
        },
    )
    callers_must_check_seconds: float = field(
        default=30,
        metadata={
            "of": "a document",
            "why": "the age of the last check from which a request waits for a check of the callers document",
        },
    )
    callers_deadline_seconds: float = field(
        default=2,
        metadata={
            "of": "a document",
            "why": "the longest wait of a request for a check of the callers document, or for the keys of an issuer",
        },
    )
    callers_max_age_seconds: float = field(
        default=24 * 3600,
        metadata={
            "of": "a document",
            "why": "how long the last good callers document stays in force while no check succeeds",
        },
    )
    vault_reread_seconds: float = field(
        default=6 * 3600,
        metadata={
            "of": "a document",
            "why": "how long vend uses what it read about the versions of a certificate or a secret in Key Vault",
        },
    )
    graph_first_byte_seconds: float = field(
        default=60,
        metadata={
            "of": "the directory",
            "why": "the longest time without a piece of a page of Graph, the first piece too",
        },
    )
    graph_page_seconds: float = field(
        default=120, metadata={"of": "the directory", "why": "the longest time for one page of Graph"}
    )
    graph_page_bytes: int = field(
        default=8 * 1024 * 1024, metadata={"of": "the directory", "why": "the largest page of Graph"}
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
