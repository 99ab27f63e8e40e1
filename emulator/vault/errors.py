"""Refusals in Key Vault's own words: a status, a code, a message and sometimes an inner code."""

from dataclasses import dataclass


@dataclass(eq=False)
class Refusal(Exception):
    """What the vault answers instead of a result."""

    status: int
    code: str
    message: str
    inner: str | None = None

    def to_json(self) -> dict[str, object]:
        """Render the error document that every Azure SDK parses."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


def bad_parameter(message: str) -> Refusal:
    """Refuse a request that is wrong in itself."""
    return Refusal(400, "BadParameter", message)


def not_found(kind: str, name: str) -> Refusal:
    """Refuse to answer for a `certificate`, `key` or `secret` that is absent or deleted."""
    return Refusal(
        404,
        f"{kind.capitalize()}NotFound",
        f"A {kind} with (name/id) {name} was not found in this key vault. If you recently deleted this {kind} you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def deleted_not_found(name: str) -> Refusal:
    """Refuse to answer for a deleted certificate that nobody deleted, or that was purged."""
    return Refusal(404, "CertificateNotFound", f"Deleted Certificate not found: {name}")


def name_in_recycle_bin(name: str) -> Refusal:
    """Refuse to reuse the name of a soft-deleted certificate."""
    return Refusal(
        409,
        "Conflict",
        f"Certificate {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this "
        "state, the certificate can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def not_allowed(operation: str, state: str, kind: str, inner: str) -> Refusal:
    """Refuse an operation on a key or secret because of the state of its version."""
    article = "an" if state[0] in "aeiou" else "a"
    return Refusal(403, "Forbidden", f"Operation {operation} is not allowed on {article} {state} {kind}.", inner)


def not_authorized(*, principal: str, action: str, resource: str) -> Refusal:
    """Refuse a caller who holds no role with that data action."""
    return Refusal(
        403,
        "Forbidden",
        "Caller is not authorized to perform action on resource.\r\n"
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation "
        f"time.\r\nCaller: oid={principal}\r\nAction: '{action}'\r\nResource: '{resource}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC'",
        "ForbiddenByRbac",
    )
