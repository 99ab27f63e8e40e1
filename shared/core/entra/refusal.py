"""Refusals of Entra's token endpoint, and their meaning.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from types import MappingProxyType

from shared.core.entra.aadsts import meaning
from shared.core.entra.proof_fault import ProofFault
from shared.core.errors import (
    BadAnswer,
    CredentialRefused,
    FederationPending,
    OperatorError,
    RegionRefused,
    ScopeRefused,
    TimedOut,
    Unavailable,
    UnreadableAnswer,
    UpstreamError,
)
from shared.core.names import is_guid
from shared.core.reply import json_object
from shared.core.retry import instant, retry_after

_AADSTS = re.compile(r"AADSTS([0-9]{4,9})\b")
_REGION_REFUSED = 100007
DESCRIPTION_LIMIT = 4_096
"""Characters of a description that are searched for numbers."""
CODES_LIMIT = 16
SMALLEST_NUMBER, LARGEST_NUMBER = 1_000, 999_999_999
"""Of 4 to 9 digits: anything else in `error_codes` is no AADSTS number, and is not named in a cause."""
_OAUTH_ERRORS = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "invalid_resource", "interaction_required", "temporarily_unavailable", "server_error",
    }
)  # fmt: skip
"""The errors that may be named in an event: a fixed vocabulary, so that no text of Entra's is in one."""
_PERMANENT: Mapping[str | None, type[UpstreamError]] = MappingProxyType(
    {
        None: UnreadableAnswer,
        "invalid_scope": ScopeRefused,
        "invalid_resource": ScopeRefused,
        "invalid_client": CredentialRefused,
    }
)
"""The meaning of a refusal that no retry mends, by its `error`; any other is the operator's to mend."""
_PROOF_FAULTS: Mapping[int, ProofFault | None] = MappingProxyType(
    {
        700027: ProofFault.LINK,
        7000214: ProofFault.LINK,
        7000277: ProofFault.LINK,
        1000502: ProofFault.LINK,
        5002730: ProofFault.LINK,
        5002738: ProofFault.LINK,
        7000215: ProofFault.SECRET,
        7000222: ProofFault.SECRET,
        50012: ProofFault.ASSERTION,
        7000274: ProofFault.ASSERTION,
        700024: ProofFault.CLOCK,
        # The client, its tenant or the request: another proof of the same client changes nothing.
        **dict.fromkeys(
            (700016, 7000112, 7000229, 90002, 53003, 50196, 500011, 501051, 70011, 1002012, 700021, 700023, 7000216,
             7000218)
        ),
    }
)  # fmt: skip
"""The fault of the proof, by number; None where no proof would do.

The number decides, and not `error`: 700016 has come as `unauthorized_client`, and 70021 as `invalid_request`.
"""
_FEDERATION = frozenset({70021, 70025, 700211, 700212, 700213, 700226, 7002137, 7002138, 7000272, 501661})
"""No federated credential fits the assertion.

https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
"""
PROPAGATION = timedelta(seconds=30)
"""How long such a refusal is remembered. Entra names no wait; a new federated credential takes minutes to spread."""


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> UpstreamError:
    """Return what an answer other than 200 means; Entra's own words are left behind.

    Args:
        status: the status code.
        headers: values by their names in lower case.
        body: the bytes as they came.
        now: seconds since the epoch, for a Retry-After that is a date.
    """
    wait = retry_after(headers, now=now)
    numbers, error, trace_id = _error(body)
    number = _telling(numbers)
    known = None if number is None else meaning(number)
    kind = _kind(status, error, number=number)
    found = kind(
        cause=f"AADSTS{number}" if number else _without_number(status, error),
        remedy=known.remedy if known else None,
        upstream_wait=PROPAGATION if kind is FederationPending else wait,
        trace_id=trace_id,
    )
    found.of_request = status != 429  # Entra throttles a client, and not a request
    if isinstance(found, CredentialRefused):
        found.number = number
        found.fault = ProofFault.LINK if kind is FederationPending else _proof_fault(number)
        found.clock_ahead = clock_difference(headers, now=now)
    return found


def clock_difference(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return by how many seconds our wall clock is ahead of an answer's Date (RFC 9110 section 6.6.1), or None."""
    sent = instant(headers.get("date", ""))
    return None if sent is None else now - sent


def _telling(numbers: Sequence[int]) -> int | None:
    """Return the number that says the most: the last with a rule, the last that is explained, or the first.

    An answer may have several: "AADSTS70002: ... AADSTS50012: Invalid client secret".
    """
    ruled = (each for each in reversed(numbers) if each in _PROOF_FAULTS or each in _FEDERATION)
    explained = (each for each in reversed(numbers) if meaning(each))
    return next(chain(ruled, explained, numbers), None)


def _kind(status: int, error: str | None, *, number: int | None) -> type[UpstreamError]:
    if status == 408:
        return TimedOut
    if status == 429 or status >= 500 or error == "temporarily_unavailable":
        return Unavailable
    if status < 400:
        return BadAnswer
    if number == _REGION_REFUSED:
        return RegionRefused
    if number in _FEDERATION:
        return FederationPending
    kind = _PERMANENT.get(error, OperatorError)
    if number is None or number not in _PROOF_FAULTS or kind is ScopeRefused:
        return kind
    return OperatorError if _PROOF_FAULTS[number] is None else CredentialRefused


def _proof_fault(number: int | None) -> ProofFault:
    if number is None:
        return ProofFault.UNNAMED
    return _PROOF_FAULTS.get(number) or ProofFault.UNKNOWN


def _without_number(status: int, error: str | None) -> str:
    """Return the name of a refusal by its status, and by its OAuth error if RFC 6749 section 5.2 has that."""
    return f"Entra: HTTP {status} {error}" if error in _OAUTH_ERRORS else f"Entra: HTTP {status}"


def _error(body: bytes) -> tuple[list[int], str | None, str | None]:
    """Return the AADSTS numbers, the OAuth error and the trace id of a refusal, each as far as the body has it."""
    answer = json_object(body) or {}
    error, codes = answer.get("error"), answer.get("error_codes")
    description = answer.get("error_description")
    found = _AADSTS.findall(description[:DESCRIPTION_LIMIT]) if isinstance(description, str) else []
    listed = [code for code in codes[:CODES_LIMIT] if type(code) is int] if isinstance(codes, list) else []
    numbers = [number for number in (*map(int, found), *listed) if SMALLEST_NUMBER <= number <= LARGEST_NUMBER]
    ids = (answer.get("trace_id"), answer.get("correlation_id"))
    return (
        numbers,
        error if isinstance(error, str) and error else None,
        next((each.lower() for each in ids if isinstance(each, str) and is_guid(each)), None),
    )
