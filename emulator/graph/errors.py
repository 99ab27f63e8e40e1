"""The refusals of Microsoft Graph: a status, a code and a message.

Source: https://learn.microsoft.com/graph/errors
"""

from emulator.refusal import Refusal
from emulator.seed import GRAPH_ID

POLICY_ID = "9d2624cb-b59a-459a-bb1a-4f86c1d07e35"


def bad_request(message: str) -> Refusal:
    """Refuse a malformed request."""
    return Refusal(400, message, code="BadRequest")


def unsupported_query(message: str) -> Refusal:
    """Refuse a query that the directory cannot answer."""
    return Refusal(400, message, code="Request_UnsupportedQuery")


def not_implemented() -> Refusal:
    """Refuse a property that is not in the directory itself."""
    return Refusal(501, "Not Implemented", code="NotImplemented")


def no_such_address() -> Refusal:
    """Refuse an address that the local Graph does not have."""
    return Refusal(404, "The local Graph has nothing at this address.", code="ResourceNotFound")


def unauthenticated(message: str, *, authority: str) -> Refusal:
    """Refuse a request without a valid token."""
    challenge = f'Bearer realm="", authorization_uri="{authority}/common/oauth2/authorize", client_id="{GRAPH_ID}"'
    return Refusal(401, message, code="InvalidAuthenticationToken", headers={"WWW-Authenticate": challenge})


def not_authorized() -> Refusal:
    """Refuse a token without a role that permits the request."""
    message = "Insufficient privileges to complete the operation."
    return Refusal(403, message, code="Authorization_RequestDenied")


def bad_proof() -> Refusal:
    """Refuse a proof of possession, whatever is wrong with it."""
    return Refusal(401, "Access Token missing or malformed.", code="Authentication_MissingOrMalformed")


def invalid_input() -> Refusal:
    """Refuse a request body that is not of the documented form."""
    return Refusal(400, "Unexpected invalid input parameters.", code="Request_BadRequest")


def invalid_key(message: str, *, code: str = "Request_BadRequest") -> Refusal:
    """Refuse a key credential that cannot be added or removed."""
    return Refusal(400, message, code=code)


def too_large() -> Refusal:
    """Refuse a value that would exceed the size of the directory object."""
    message = (
        "The size of the object has exceeded its limit. Please reduce the number of values and retry your request."
    )
    return Refusal(403, message, code="Directory_ResourceSizeExceeded")


def lifetime_forbidden() -> Refusal:
    """Refuse a certificate that lives longer than the app-management policy permits."""
    message = f"Credential lifetime exceeds the max value allowed as per assigned policy '{POLICY_ID}'."
    return Refusal(400, message, code="CredentialInvalidLifetimeAsPerAppPolicy")


def untrusted_authority() -> Refusal:
    """Refuse a certificate of an authority that the app-management policy does not name.

    No public record has this answer: the code is that of the policy's other prohibitions.
    """
    message = f"Credential type not allowed as per assigned policy '{POLICY_ID}'."
    return Refusal(400, message, code="CredentialTypeNotAllowedAsPerAppPolicy")
