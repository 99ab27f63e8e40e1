"""The refusals of Key Vault: a status, a code, a message and sometimes an inner code, which is `detail` here.

Source: https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses
"""

from enum import StrEnum

from emulator.refusal import Refusal


class Closure(StrEnum):
    """Why the network of a vault keeps every caller out; the values are those of the inner error."""

    FIREWALL = "ForbiddenByFirewall"  # the caller's address is in no rule
    CONNECTION = "ForbiddenByConnection"  # public access is off, and the caller came by no private link


CLOSURES = {
    Closure.FIREWALL: "Client address is not authorized and caller is not a trusted service.\r\n"
    "Client address: 127.0.0.1",
    Closure.CONNECTION: "Public network access is disabled and request is not from a trusted service nor via an "
    "approved private link.",
}


def body(refusal: Refusal) -> dict[str, object]:
    """Return the error document that every Azure SDK parses."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.detail:
        error["innererror"] = {"code": refusal.detail}
    return {"error": error}


def bad_parameter(message: str, *, detail: str = "") -> Refusal:
    """Refuse a malformed request."""
    return Refusal(400, message, code="BadParameter", detail=detail)


def not_found(kind: str, name: str) -> Refusal:
    """Refuse a request for a `certificate`, `key` or `secret` that does not exist or is deleted."""
    return Refusal(
        404,
        f"A {kind} with (name/id) {name} was not found in this key vault. If you recently deleted this {kind} you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
        code=f"{kind.capitalize()}NotFound",
    )


def deleted_not_found(name: str) -> Refusal:
    """Refuse a request for a certificate that is not in the recycle bin."""
    return Refusal(404, f"Deleted Certificate not found: {name}", code="CertificateNotFound")


def pending_not_found(name: str) -> Refusal:
    """Refuse a request for the pending operation of a certificate that was imported."""
    return Refusal(404, f"Pending certificate not found: {name}", code="PendingCertificateNotFound")


def name_in_recycle_bin(name: str) -> Refusal:
    """Refuse to reuse the name of a soft-deleted certificate."""
    return Refusal(
        409,
        f"Certificate {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this "
        "state, the certificate can only be recovered or purged.",
        code="Conflict",
        detail="ObjectIsDeletedButRecoverable",
    )


def name_of_secret(name: str) -> Refusal:
    """Refuse a certificate with the name of a plain secret, because its own secret would need it."""
    return Refusal(409, f"A secret with the name {name} exists and is not managed by a certificate.", code="Conflict")


def not_allowed(operation: str, state: str, kind: str, inner: str) -> Refusal:
    """Refuse an operation on a key or secret because of the state of its version."""
    article = "an" if state[0] in "aeiou" else "a"
    message = f"Operation {operation} is not allowed on {article} {state} {kind}."
    return Refusal(403, message, code="Forbidden", detail=inner)


def not_permitted(operation: str) -> Refusal:
    """Refuse an operation that the key's usage does not include."""
    message = f"Operation {operation} is not permitted on this key."
    return Refusal(403, message, code="Forbidden", detail="KeyOperationForbidden")


def unauthenticated(message: str, *, challenge: str) -> Refusal:
    """Refuse a request without a valid token."""
    return Refusal(401, message, code="Unauthorized", headers={"www-authenticate": challenge})


def not_authorized(*, principal: str, action: str, resource: str) -> Refusal:
    """Refuse a principal that has no role with that data action."""
    return Refusal(
        403,
        "Caller is not authorized to perform action on resource.\r\n"
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation "
        f"time.\r\nCaller: oid={principal}\r\nAction: '{action}'\r\nResource: '{resource}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC'",
        code="Forbidden",
        detail="ForbiddenByRbac",
    )


def closed_to_caller(closure: Closure, *, caller: str, vault: str) -> Refusal:
    """Refuse every request that comes from outside the networks of the vault."""
    lines = (CLOSURES[closure], f"Caller: {caller}", f"Vault: {vault}")
    return Refusal(403, "\r\n".join(lines), code="Forbidden", detail=closure)
