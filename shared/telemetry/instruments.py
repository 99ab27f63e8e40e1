"""Every metric by its name, unit and meaning. What feeds each of them stands beside the events, in `catalogue/`."""

from shared.telemetry.event import Instrument

REQUESTS = Instrument("vend.token.requests", "{request}", "answers; `vend.outcome` is `vended` or the error")
DURATION = Instrument(
    "vend.token.duration",
    "s",
    "histogram of the time inside the app",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
)
FAILURES = Instrument(
    "vend.upstream.failures",
    "{failure}",
    "failed attempts to acquire a token; `error.type` is `AADSTS` and Entra's number, `AADSTS other`, or a short name",
)
RUNS = Instrument("vend.sync.runs", "{run}", "runs of the sync, each stream for itself")
CHANGES = Instrument("vend.sync.changes", "{change}", "changes that Graph reported")
LOST = Instrument(
    "vend.events.lost",
    "{event}",
    "lines of the log and measurements that were lost; a lost line is a gap in the audit trail",
)
"""The one instrument that no event feeds."""
