"""The refusals of Microsoft Graph: a status, a code and a message.

Source: https://learn.microsoft.com/graph/errors
"""

from emulator.refusal import Refusal
from emulator.seed import GRAPH_ID


def bad_request(message: str) -> Refusal:
    """Refuse a malformed request."""
    return Refusal(400, message, code="BadRequest")


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
