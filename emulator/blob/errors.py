"""The refusals of Blob Storage: a status, a code, a message, and for tokens a sentence more.

Source: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from emulator.refusal import Refusal


def unauthenticated(code: str, *, challenge: str, detail: str = "") -> Refusal:
    """Refuse a request without a valid token."""
    message = (
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
    )
    return Refusal(401, message, code=code, detail=detail, headers={"www-authenticate": challenge})


def shared_key_refused() -> Refusal:
    """Refuse another scheme than `Bearer`: shared keys and SAS are off."""
    return Refusal(403, "Key based authentication is not permitted.", code="KeyBasedAuthenticationNotPermitted")


def version_too_old() -> Refusal:
    """Refuse a token in an API version that does not know the scheme `Bearer`."""
    return Refusal(
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature.",
        code="AuthenticationFailed",
        detail="Authentication scheme Bearer is not supported in this version.",
    )


def not_authorized() -> Refusal:
    """Refuse a principal that has no role with that action."""
    message = "This request is not authorized to perform this operation using this permission."
    return Refusal(403, message, code="AuthorizationPermissionMismatch")


def invalid_header() -> Refusal:
    """Refuse a header with a malformed value."""
    message = "The value for one of the HTTP headers is not in the correct format."
    return Refusal(400, message, code="InvalidHeaderValue")


def missing_header() -> Refusal:
    """Refuse a request without a mandatory header."""
    message = "An HTTP header that's mandatory for this request is not specified."
    return Refusal(400, message, code="MissingRequiredHeader")


def container_not_found() -> Refusal:
    """Refuse a request for a container that does not exist."""
    return Refusal(404, "The specified container does not exist.", code="ContainerNotFound")


def blob_not_found() -> Refusal:
    """Refuse a request for a blob that does not exist."""
    return Refusal(404, "The specified blob does not exist.", code="BlobNotFound")


def blob_exists() -> Refusal:
    """Refuse to create a blob that exists."""
    return Refusal(409, "The specified blob already exists.", code="BlobAlreadyExists")


def condition_not_met() -> Refusal:
    """Refuse a request whose `If-Match` names another ETag."""
    message = "The condition specified using HTTP conditional header(s) is not met."
    return Refusal(412, message, code="ConditionNotMet")


def unsatisfiable_condition() -> Refusal:
    """Refuse to read a blob on the condition that there is none."""
    message = "The request includes an unsatisfiable condition for this operation."
    return Refusal(400, message, code="UnsatisfiableCondition")


def timed_out() -> Refusal:
    """Refuse an operation whose outcome the service does not know: it may have happened."""
    return Refusal(500, "Operation could not be completed within the permitted time.", code="OperationTimedOut")


def invalid_range(size: int) -> Refusal:
    """Refuse a range that begins behind the end of a blob of so many bytes."""
    message = "The range specified is invalid for the current size of the resource."
    return Refusal(416, message, code="InvalidRange", headers={"content-range": f"bytes */{size}"})
