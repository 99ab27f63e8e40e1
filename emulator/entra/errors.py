"""The refusals of Entra's token endpoint: a table of its AADSTS numbers, and their JSON form.

Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes. Only `error` is a contract there;
numbers, texts and statuses are those that Entra sends today.
"""

import datetime as dt
import uuid
from dataclasses import dataclass

from emulator.refusal import Refusal


@dataclass(frozen=True)
class Meaning:
    """The response to one AADSTS number; braces in the text stand for facts of the request."""

    status: int
    error: str
    text: str


FEDERATION_PAGE = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
CHECK_CREDENTIAL = (
    "Please check your federated identity credential Subject, Audience and Issuer against the presented assertion. "
    + FEDERATION_PAGE
)

MEANINGS = {
    50027: Meaning(400, "invalid_request", "JWT token is invalid or malformed."),
    5002730: Meaning(400, "invalid_request", "Invalid JWT token. Unsupported key for the signing algorithm."),
    5002738: Meaning(
        400,
        "invalid_request",
        "Invalid JWT token. '{algorithm}' is not a supported signature algorithm. Supported signing algorithms are: "
        "'{supported}'",
    ),
    # Microsoft's reference lists the reasons, and the subject name of the certificate first.
    50012: Meaning(
        401, "invalid_client", "Authentication failed: the subject name of the signing certificate is not authorized."
    ),
    90002: Meaning(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud.",
    ),
    90011: Meaning(
        400, "invalid_request", "Request is ambiguous, multiple application identifiers found: '{first}', '{second}'."
    ),
    900144: Meaning(400, "invalid_request", "The request body must contain the following parameter: '{parameter}'."),
    9000411: Meaning(
        400, "invalid_request", "The request is not properly formatted. The parameter '{parameter}' is duplicated."
    ),
    9002313: Meaning(400, "invalid_request", "Invalid request. Request is malformed or invalid."),
    # Sources show number and text only; status and `error` are those of the other unauthorized clients.
    100007: Meaning(
        400,
        "unauthorized_client",
        "This request was received by an Azure AD regional authentication endpoint. Only managed identities and "
        "Microsoft internal service identities are supported. All others, send your request to {host}.",
    ),
    70003: Meaning(400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant_type}'."),
    70011: Meaning(
        400,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter "
        "'scope' is not valid. The scope {scope} is not valid.",
    ),
    1002012: Meaning(
        400,
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
    ),
    500011: Meaning(
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    501051: Meaning(
        400,
        "invalid_grant",
        "Application '{client_id}'({client}) is not assigned to a role for the application '{app_id}'({api}).",
    ),
    700016: Meaning(
        400,
        "unauthorized_client",
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    7000112: Meaning(400, "unauthorized_client", "Application '{client_id}'({client}) is disabled."),
    7000229: Meaning(
        401,
        "invalid_client",
        "The client application {client_id} is missing service principal in the tenant {tenant}.",
    ),
    7000215: Meaning(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID, for a secret added to app '{client_id}'.",
    ),
    7000218: Meaning(
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7000222: Meaning(401, "invalid_client", "The provided client secret keys for app '{client_id}' are expired."),
    70021: Meaning(
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion "
        "Subject: '{subject}'. Assertion Audience: '{audience}'. " + FEDERATION_PAGE,
    ),
    70025: Meaning(
        401,
        "invalid_client",
        "The client '{client_id}'({client}) has no configured federated identity credentials.",
    ),
    700211: Meaning(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion issuer '{issuer}'. " + CHECK_CREDENTIAL,
    ),
    700212: Meaning(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion audience '{audience}'. "
        + CHECK_CREDENTIAL,
    ),
    700213: Meaning(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. " + CHECK_CREDENTIAL,
    ),
    7002138: Meaning(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. The subject matches "
        "with case-insensitive comparison, but not with case-sensitive comparison. " + CHECK_CREDENTIAL,
    ),
    700226: Meaning(
        401, "invalid_client", "Only MSI tokens may be used as Federated Identity Credentials for AAD issuer."
    ),
    501661: Meaning(400, "invalid_request", "Request to External OIDC endpoint failed."),
    50048: Meaning(401, "invalid_client", "Subject must match the issuer claim in the client assertion."),
    700021: Meaning(
        401, "invalid_client", "Client assertion application identifier doesn't match 'client_id' parameter."
    ),
    700023: Meaning(401, "invalid_client", "Client assertion audience claim does not match Realm issuer."),
    700024: Meaning(
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {not_before}, "
        "expiry time of assertion {expires}.",
    ),
    700027: Meaning(
        401,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application, or the "
        "client assertion contains an invalid signature. [Reason - {reason}]",
    ),
    7000214: Meaning(401, "invalid_client", "Certificate has been revoked."),
    7000272: Meaning(
        401,
        "invalid_client",
        "The certificate with identifier {identifier} used to sign the federated credential could not be found in the "
        "metadata of identity provider {issuer}. Please validate that your Identity Provider's metadata exposes the "
        "key used to sign the incoming token.",
    ),
    # Sources show the number and what leads to it: the key is published, and the signature is not its own.
    7000274: Meaning(401, "invalid_client", "The federated credential contains an invalid signature."),
    1000502: Meaning(401, "invalid_client", "The provided certificate is not within its specified validity period."),
}


def aadsts(number: int, *, error: str = "", **facts: str) -> Refusal:
    """Return Entra's refusal with this AADSTS number, as `code`, and with the facts that its text names.

    `error` replaces the word that usually goes with the number.
    """
    meaning = MEANINGS[number]
    return Refusal(meaning.status, meaning.text.format(**facts), code=str(number), detail=error or meaning.error)


def reused() -> Refusal:
    """Return the refusal of an assertion that came before: of OAuth alone (RFC 6749 section 5.2), without a number."""
    return Refusal(401, "client assertion tokens must only be used once", detail="invalid_client")


def body(refusal: Refusal, *, authority: str, correlation_id: str, now: float) -> dict[str, object]:
    """Return the JSON that Entra sends; the lines of the description are part of its form."""
    if not refusal.code:
        return {"error": refusal.detail, "error_description": refusal.message}
    number = int(refusal.code)
    trace_id = str(uuid.uuid4())
    timestamp = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    lines = (
        f"AADSTS{number}: {refusal.message}",
        f"Trace ID: {trace_id}",
        f"Correlation ID: {correlation_id}",
        f"Timestamp: {timestamp}",
    )
    return {
        "error": refusal.detail,
        "error_description": "\r\n".join(lines),
        "error_codes": [number],
        "timestamp": timestamp,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
        "error_uri": f"{authority}/error?code={number}",
    }
