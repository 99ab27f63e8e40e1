"""Entra's error numbers: their meaning to the operator of vend, and the remedy.

Numbers: https://learn.microsoft.com/entra/identity-platform/reference-error-codes. Microsoft may change them any day,
so no answer is decided by this table: it explains, in events, in `./vend callers explain` and in docs/errors.md. A
number that is in it has a label of its own in metrics.
What begins with `$VEND_` is known to `azd env get-values`. One line each, without quotes and bars.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """The meaning of one number, and its remedy."""

    meaning: str
    remedy: str


_UPLOAD = (
    "make the certificate known to the app registration (docs/credentials.md): "
    "az ad app credential reset --id $VEND_CLIENT_ID --append --keyvault $VEND_VAULT --cert vend"
)
_NEW_CERTIFICATE = (
    "make a new certificate, az keyvault certificate create --vault-name $VEND_VAULT --name vend "
    "--policy $CERTIFICATE_POLICY, then "
) + _UPLOAD
_SERVICE_PRINCIPAL = (
    "compare client_id and tenants of the profile with the app registration; if they are right, make its service "
    "principal in that tenant: az ad sp create --id $VEND_CLIENT_ID"
)
_CONSENT = (
    "give the app registration an application permission on that API, then consent: "
    "az ad app permission admin-consent --id $VEND_CLIENT_ID"
)
_SCOPE = "correct scopes of the profile in vend.toml: the URI of the API as it is registered, followed by /.default"
_FEDERATION = (
    "compare issuer, subject (the object ID of the managed identity) and audience, upper and lower case too: "
    "az ad app federated-credential list --id $VEND_CLIENT_ID; a new one takes some minutes to be known: "
    "docs/credentials.md"
)
_CLOCK = (
    "check that the writer of the assertion file keeps it fresh, and that the clock of this machine is right; on "
    "Azure open a support request with the trace_id"
)
_WAIT = "wait: vend asks again after the wait that Entra named, and serves cached tokens until then"
_DEFECT = "this is a defect of vend: report it with the event"
_RSA = (
    "have the issuer of an assertion file sign by RS256; for a certificate, make a new one with an RSA key: "
    "az keyvault certificate create --vault-name $VEND_VAULT --name vend --policy $CERTIFICATE_POLICY"
)
_SECRET = (
    "make a new secret, az ad app credential reset --id $VEND_CLIENT_ID --append, and put its value, not its ID, where "
    "the credential of the profile names it; a certificate or a managed identity is the better kind: "
    "docs/credentials.md"
)

_MEANINGS = {
    50001: Meaning("the API is not known in the tenant", _SCOPE),
    500011: Meaning("the API is not known in the tenant, or has no service principal there", _SCOPE),
    501661: Meaning(
        "Entra did not reach the issuer of the token that was sent as proof",
        "have the issuer publish its OpenID configuration and its keys by https where Entra can read them",
    ),
    501051: Meaning("the API gives tokens only to assigned clients, and this client is not assigned", _CONSENT),
    500181: Meaning("the client certificate of the TLS connection is not the one that Entra expects", _DEFECT),
    500207: Meaning("the kind of account in the tenant cannot have tokens for this API", _SCOPE),
    50012: Meaning(
        "the proof is not valid; with send_x5c, its subject name is not trusted",
        _UPLOAD + "; with send_x5c, correcting trustedCertificateSubjects in the manifest does it too",
    ),
    50027: Meaning("the client assertion is no valid JWT", _DEFECT),
    50048: Meaning("subject and issuer of the client assertion differ", _DEFECT),
    50105: Meaning("the API gives tokens only to assigned clients, and this client is not assigned", _CONSENT),
    50196: Meaning(
        "the same request came too often, and Entra suspects a loop",
        "find out what restarts the workers, or purges the callers, again and again: each time the caches are emptied",
    ),
    51000: Meaning("the tenant does not take TLS client certificates as proof", _DEFECT),
    53003: Meaning(
        "a Conditional Access policy blocks the client",
        "the policy for workload identities must allow the address that vend calls from; the sign-in log of the "
        "service principal names the policy",
    ),
    5002730: Meaning("the client assertion is signed by an algorithm that does not fit the key", _RSA),
    5002738: Meaning("Entra does not know the algorithm by which the client assertion is signed", _RSA),
    65001: Meaning("nobody has consented to the permission", _CONSENT),
    70002: Meaning("the proof of the client is not valid; a second number says why", _UPLOAD),
    70003: Meaning("Entra does not know the grant type", _DEFECT),
    70011: Meaning("the scope is not valid", _SCOPE),
    70021: Meaning("no federated credential fits the token that was sent as proof", _FEDERATION),
    70025: Meaning("the app registration has no federated credential", _FEDERATION),
    700211: Meaning("no federated credential has the issuer of the token that was sent as proof", _FEDERATION),
    700212: Meaning("no federated credential has the audience of the token that was sent as proof", _FEDERATION),
    700213: Meaning("no federated credential has the subject of the token that was sent as proof", _FEDERATION),
    700226: Meaning(
        "the token that was sent as proof is of an app registration; Entra takes only that of a managed identity",
        "use type = federated_managed_identity in the profile, or an assertion of a provider outside of Entra: "
        "docs/credentials.md",
    ),
    7002137: Meaning("no federated credential fits: issuer, subject or audience differ", _FEDERATION),
    7002138: Meaning("no federated credential fits: issuer, subject or audience differ", _FEDERATION),
    700016: Meaning("the client is not known in the tenant", _SERVICE_PRINCIPAL),
    700021: Meaning("the client assertion is of another client than the request", _DEFECT),
    700023: Meaning(
        "the client assertion is for another tenant or cloud than the one that was asked",
        "compare cloud in vend.toml with the cloud that the tenant is in",
    ),
    700024: Meaning("the client assertion is not within its time", _CLOCK),
    700027: Meaning("the certificate is not registered, or is revoked, or the signature is wrong", _UPLOAD),
    7000112: Meaning(
        "the app registration or its service principal is disabled",
        "find out who disabled it and why, then: az ad sp update --id $VEND_CLIENT_ID --set accountEnabled=true",
    ),
    7000214: Meaning(
        "with send_x5c: the manifest of the app registration lists the certificate as revoked", _NEW_CERTIFICATE
    ),
    7000215: Meaning("the client secret is wrong; often it is the ID of the secret in place of its value", _SECRET),
    7000216: Meaning("the client assertion is missing, or is no string", _DEFECT),
    7000218: Meaning("no client assertion was sent", _DEFECT),
    7000222: Meaning("the client secret is expired", _SECRET),
    7000229: Meaning("the client has no service principal in the tenant", _SERVICE_PRINCIPAL),
    7000272: Meaning(
        "the issuer of the token that was sent as proof does not publish the key that signed it",
        "have the issuer publish its present keys; Entra reads them again within half an hour",
    ),
    7000274: Meaning(
        "the signature of the client assertion is wrong",
        "see what writes the assertion file: nothing may change a token that is signed; for a certificate, " + _UPLOAD,
    ),
    7000277: Meaning("the certificate is revoked; Microsoft does not publish what leads to it", _NEW_CERTIFICATE),
    7005004: Meaning(
        "the key of the certificate is revoked; Microsoft does not publish what leads to it", _NEW_CERTIFICATE
    ),
    90002: Meaning(
        "there is no such tenant in this cloud",
        "correct tenants of the profile, or cloud, in vend.toml; az account show --query tenantId names your own",
    ),
    90033: Meaning("Entra is not available for a moment", _WAIT),
    90055: Meaning("the tenant sends too many requests", _WAIT),
    90011: Meaning("several clients fit the request", "use the application (client) ID as client_id of the profile"),
    900144: Meaning("a field of the request is missing", _DEFECT),
    9000411: Meaning("a field of the request was sent twice", _DEFECT),
    9002313: Meaning("the request is malformed", _DEFECT),
    100007: Meaning(
        "the regional endpoint does not serve this client; vend uses the global one",
        "remove region from the profile in vend.toml",
    ),
    1000502: Meaning("the certificate is expired or not yet valid", _NEW_CERTIFICATE),
    1002012: Meaning("the scope is not valid for client credentials", _SCOPE),
}


def meaning(code: int) -> Meaning | None:
    """Explain a number; None for one that is not known here."""
    return _MEANINGS.get(code)


def known_codes() -> frozenset[int]:
    """List the numbers that are explained."""
    return frozenset(_MEANINGS)
