"""The refusals of Azure Resource Manager, and of the resource provider Microsoft.Web behind it.

Each has a body of its own: Resource Manager has the envelope `error`; Microsoft.Web has capital names and no envelope.
Source: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors, and bodies in
https://github.com/Azure/azure-cli/issues/20892 and https://github.com/pulumi/pulumi-azure/issues/442.
"""

from typing import Any

from emulator.refusal import Refusal


class ProviderRefusal(Refusal):
    """A request that Microsoft.Web refused."""


def body_of(refusal: Refusal) -> dict[str, Any]:
    """Return the JSON of a refusal, in the format of the service that refused."""
    code, message = refusal.code, refusal.message
    if not isinstance(refusal, ProviderRefusal):
        return {"error": {"code": code, "message": message}}
    entity = {"Code": code, "Message": message}
    details = [{"Message": message}, {"Code": code}, {"ErrorEntity": entity}]
    return {**entity, "Target": None, "Details": details, "Innererror": None}


def bad_request(message: str, *, code: str) -> Refusal:
    """Refuse a malformed request."""
    return Refusal(400, message, code=code)


def unauthenticated(message: str, *, code: str) -> Refusal:
    """Refuse a request without a valid token."""
    return Refusal(401, message, code=code, headers={"www-authenticate": 'Bearer error="invalid_token"'})


def not_authorized(*, principal: str, action: str, resource_id: str) -> Refusal:
    """Refuse a principal whose roles on the resource do not have the action."""
    return Refusal(
        403,
        f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
        f"'{action}' over scope '{resource_id}' or the scope is invalid. If access was recently granted, please "
        "refresh your credentials.",
        code="AuthorizationFailed",
    )


def no_resource(resource_id: str) -> Refusal:
    """Refuse a request for a resource that does not exist."""
    return Refusal(404, f"The Resource '{resource_id}' was not found.", code="ResourceNotFound")


def invalid_key_name() -> Refusal:
    """Refuse the name of a key."""
    return ProviderRefusal(400, "Invalid key name.", code="BadRequest")


def no_key(name: str) -> Refusal:
    """Refuse a request for a key that does not exist."""
    return ProviderRefusal(404, f"Key '{name}' was not found.", code="NotFound")


def host_failed(reason: str) -> Refusal:
    """Refuse a request that the host of the app failed to answer.

    Args:
        reason: the host's status, such as `ServiceUnavailable` while it starts.
    """
    return ProviderRefusal(400, f"Encountered an error ({reason}) from host runtime.", code="BadRequest")


def conflict() -> Refusal:
    """Refuse a request while the site is changed by another one."""
    return ProviderRefusal(
        409, "Cannot modify this site because another operation is in progress. Details: Id: 1.", code="Conflict"
    )


def locked(resource_id: str) -> Refusal:
    """Refuse to delete what a lock protects."""
    return Refusal(
        409,
        f"The scope '{resource_id}' cannot perform delete operation because following scope(s) are locked: "
        f"'{resource_id}'. Please remove the lock and try again.",
        code="ScopeLocked",
    )


def throttled(*, seconds: int) -> Refusal:
    """Refuse a request beyond the limit of the subscription."""
    return Refusal(
        429,
        "Number of requests for the subscription exceeded the limit. Please try again after some seconds.",
        code="SubscriptionRequestsThrottled",
        headers={"retry-after": str(seconds)},
    )


def out_of_order() -> Refusal:
    """Refuse a request in a failure of Resource Manager."""
    return Refusal(503, "The service is unavailable now; retry the request later.", code="ServiceUnavailable")
