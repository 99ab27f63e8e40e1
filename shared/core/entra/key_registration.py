"""When a version of a certificate is registered, and what Microsoft Graph means when it refuses to.

https://learn.microsoft.com/graph/api/application-addkey
"""

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from shared.core.entra.proof_fault import ProofFault
from shared.core.errors import CredentialRefused, OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply, json_object
from shared.core.retry import retry_after

HOUR = 3_600
TRIES = (0, *(2**power for power in range(8)), *range(264, 1_585, 264))
"""Ages in hours at which a version is tried: at doubling ones for five days, then on each eleventh day to the 66th."""
_UNKNOWN_KEY = 700027
_PROOF_REFUSED = "Authentication_MissingOrMalformed"
_BY_POLICY = re.compile(r"[A-Za-z]{1,64}AsPerAppPolicy", re.ASCII)
_POLICY = (
    "an app management policy of the tenant forbids this certificate: make its policy in Key Vault one that the tenant "
    "permits (validity, issuer) and a new version, or have an administrator exempt the app registration"
)
_OBJECT = (
    "compare application_object_id of the profile with the object ID of the app registration, which is neither its "
    "client ID nor that of its service principal: az ad app show --id $VEND_CLIENT_ID --query id"
)
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        _PROOF_REFUSED: _OBJECT,
        "Authorization_RequestDenied": _OBJECT,
        "Request_ResourceNotFound": _OBJECT,
        "Directory_ResourceSizeExceeded": (
            "the app registration holds too many keys: an administrator removes those that are over, "
            "az ad app credential delete --cert --id $VEND_CLIENT_ID --key-id ID"
        ),
    }
)
_OTHER = (
    "nothing, if Entra accepts the version at the next run; otherwise register it by hand: "
    "az ad app credential reset --id $VEND_CLIENT_ID --append --keyvault $VEND_VAULT --cert NAME"
)
_CODES = frozenset({*_REMEDIES, "Request_BadRequest", "KeyCredentialsInvalidEndDate", "InvalidAuthenticationToken"})
"""The codes that may be named in an event: a fixed vocabulary, so that no text of Graph's is in one."""


def is_unregistered(error: UpstreamError) -> bool:
    """Return whether Entra has refused a certificate because the app registration does not have it."""
    return isinstance(error, CredentialRefused) and error.number == _UNKNOWN_KEY


def is_certificate_refused(error: UpstreamError) -> bool:
    """Return whether an error says that Entra accepts nothing that a certificate signs, and not only this proof.

    The time of an assertion, and a refusal without a number or with an unknown one, say nothing of the certificate.
    """
    return isinstance(error, CredentialRefused) and error.fault in {ProofFault.LINK, ProofFault.ASSERTION}


def is_due(created: datetime, now: float) -> bool:
    """Return whether an hourly run tries to register a version of this age.

    It does so at the ages of `TRIES`, 15 times at the most. A failure that passes is over soon. If an administrator has
    to remove it, such as a policy, vend notices within eleven days. That leaves a week. A certificate of 12 months is
    renewed 73 days before its end, and after its end nothing signs the proof for the new one.

    Graph may take each try as one more key, and an app registration with some 600 keys takes no further one, from an
    administrator either. Hours of the calendar are counted, so that of runs once an hour each has an age of its own,
    although they begin late or early.

    Args:
        created: when the version was made.
        now: seconds since the epoch.
    """
    return _hours(created, now) in TRIES


def seconds_to_next_try(created: datetime, now: float) -> int | None:
    """Return the seconds from one try to the next, or None after the last one."""
    hours = _hours(created, now)
    return next(((age - hours) * HOUR for age in TRIES if age > hours), None)


def is_proof_refused(reply: Reply) -> bool:
    """Return whether Graph has refused the proof: it may accept one for the other audience."""
    return reply.status == 401 and _code(reply.body) == _PROOF_REFUSED


def registration_refusal(reply: Reply, *, now: float) -> UpstreamError:
    """Return what an answer of Graph other than 200 means; its own words are left behind.

    Args:
        reply: the answer.
        now: seconds since the epoch, for a Retry-After that is a date.
    """
    status, code = reply.status, _code(reply.body)
    cause = f"Graph: HTTP {status} {code}".rstrip()
    if status == 429 or status >= 500:
        return Unavailable(cause=cause, upstream_wait=retry_after(reply.headers, now=now))
    remedy = _POLICY if _BY_POLICY.fullmatch(code) else _REMEDIES.get(code, _OTHER)
    return OperatorError(cause=cause, remedy=remedy)


def _hours(created: datetime, now: float) -> int:
    return max(0, int(now // HOUR) - int(created.timestamp() // HOUR))


def _code(body: bytes) -> str:
    """Return the code of a refusal where it is one that exists, or ""."""
    error = (json_object(body) or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and (code in _CODES or _BY_POLICY.fullmatch(code)):
        return code
    return ""
