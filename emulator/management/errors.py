"""The refusals of Azure Resource Manager: a status, a code and a message.

Source: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
"""

from emulator.refusal import Refusal


def bad_request(message: str, *, code: str = "BadRequest") -> Refusal:
    """Refuse a malformed request."""
    return Refusal(400, message, code=code)


def unauthenticated(message: str, *, code: str) -> Refusal:
    """Refuse a request without a valid token."""
    return Refusal(401, message, code=code, headers={"www-authenticate": 'Bearer error="invalid_token"'})


def not_authorized(*, principal: str, resource_id: str) -> Refusal:
    """Refuse a principal that has no role on the resource."""
    return Refusal(
        403,
        f"The client with object id '{principal}' does not have authorization to perform action over scope "
        f"'{resource_id}' or the scope is invalid.",
        code="AuthorizationFailed",
    )


def not_found(message: str, *, code: str = "NotFound") -> Refusal:
    """Refuse a request for a resource or a key that does not exist."""
    return Refusal(404, message, code=code)
