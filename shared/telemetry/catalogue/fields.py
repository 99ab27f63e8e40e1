"""Fields and instruments that several events share, with their documentation."""

from typing import Annotated, Literal

from shared.core.token import TokenSource
from shared.telemetry.event import Doc

Profile = Annotated[str, Doc("name of the profile in `vend.toml`")]
TenantId = Annotated[str, Doc("the tenant whose Entra is asked")]
Scope = Annotated[str, Doc("the scope that was asked for")]
Fingerprint = Annotated[str, Doc("the first 12 hex digits of the token's SHA-256", {"pattern": "^[0-9a-f]{12}$"})]
Source = Annotated[str, Doc("where the token came from", {"enum": [source.value for source in TokenSource]})]
Cause = Annotated[str, Doc("a short name of the cause")]
Mistakes = Annotated[list[str], Doc("each mistake by its dotted key")]
Retry = Annotated[float, Doc("seconds until the next try")]
FlightId = Annotated[
    str, Doc("the failed attempt to get the token; `acquire_failed` and Entra's sign-in log have this id too")
]
Stream = Annotated[str, Doc("name of the stream in `vend.toml`")]
Milliseconds = Annotated[float, Doc("milliseconds that it took", {"minimum": 0})]
Kept = Literal["last good one kept", "none"]
Readiness = Literal["ready", "degraded", "not_ready"]
KeptDocument = Annotated[Kept, Doc("whether an earlier document stays in force")]
TRACEPARENT = {"pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"}
DIGEST = {"pattern": "^[0-9a-f]{12}$"}
InForce = Annotated[str, Doc("the first 12 hex digits of the SHA-256 of the document in force", DIGEST)]
Newest = Annotated[str, Doc("the same of the newest document that was read", DIGEST)]
