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


def missing_parameter() -> Refusal:
    """Refuse a request without a mandatory query parameter."""
    message = "A query parameter that's mandatory for this request is not specified."
    return Refusal(400, message, code="MissingRequiredQueryParameter")


def invalid_parameter() -> Refusal:
    """Refuse a query parameter with a malformed value."""
    message = "Value for one of the query parameters specified in the request URI is invalid."
    return Refusal(400, message, code="InvalidQueryParameterValue")


def invalid_block() -> Refusal:
    """Refuse a block whose id is not as long as the others of its blob."""
    return Refusal(400, "The specified blob or block content is invalid.", code="InvalidBlobOrBlock")


def invalid_block_list() -> Refusal:
    """Refuse a list with a block that nobody put, or that another list has replaced."""
    return Refusal(400, "The specified block list is invalid.", code="InvalidBlockList")


def invalid_xml() -> Refusal:
    """Refuse a list that is no list."""
    return Refusal(400, "XML specified is not syntactically valid.", code="InvalidXmlDocument")


def lease_present() -> Refusal:
    """Refuse the lease that another id holds."""
    return Refusal(409, "There is already a lease present.", code="LeaseAlreadyPresent")


def breaking() -> Refusal:
    """Refuse the lease that its holder wants again, and that somebody has broken."""
    message = (
        "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken."
    )
    return Refusal(409, message, code="LeaseIsBreakingAndCannotBeAcquired")


def broken() -> Refusal:
    """Refuse to renew a lease that somebody has broken."""
    message = "The lease ID matched, but the lease has been broken explicitly and cannot be renewed."
    return Refusal(409, message, code="LeaseIsBrokenAndCannotBeRenewed")


def lease_id_mismatch_of_lease() -> Refusal:
    """Refuse to renew or release the lease of another id."""
    message = "The lease ID specified did not match the lease ID for the blob."
    return Refusal(409, message, code="LeaseIdMismatchWithLeaseOperation")


def no_lease_to_change() -> Refusal:
    """Refuse to break no lease."""
    message = "There is currently no lease on the blob."
    return Refusal(409, message, code="LeaseNotPresentWithLeaseOperation")


def lease_id_missing() -> Refusal:
    """Refuse to write a leased blob without the id of the lease."""
    message = "There is currently a lease on the blob and no lease ID was specified in the request."
    return Refusal(412, message, code="LeaseIdMissing")


def lease_id_mismatch() -> Refusal:
    """Refuse to write a blob that is leased to another id."""
    message = "The lease ID specified did not match the lease ID for the blob."
    return Refusal(412, message, code="LeaseIdMismatchWithBlobOperation")


def lease_lost() -> Refusal:
    """Refuse a write with the id of a lease that has expired."""
    message = "A lease ID was specified, but the lease for the blob has expired."
    return Refusal(412, message, code="LeaseLost")


def no_lease() -> Refusal:
    """Refuse a write with the id of a lease where there is none."""
    return Refusal(412, "There is currently no lease on the blob.", code="LeaseNotPresentWithBlobOperation")
