"""Applications that register and remove their own certificates: `addKey` and `removeKey` of Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/application-addkey, .../application-removekey. An application needs no
permission for its own keys, and here no permission is enough for those of another application.
"""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import Application, KeyPolicy
from emulator.directory.store import Directory
from emulator.graph import proof
from emulator.graph.errors import (
    invalid_input,
    invalid_key,
    lifetime_forbidden,
    not_authorized,
    too_large,
    untrusted_authority,
)

# Of a report, because no page has a number: https://github.com/microsoftgraph/microsoft-graph-docs/issues/21469
MOST_KEYS = 600

type Document = dict[str, object]


class Applications:
    """The keys of the applications of one directory.

    Attributes that a test may set at any time:
        audiences: which `aud` of a proof is accepted; Microsoft's pages have named either.
        algorithms: by which a proof may be signed; Microsoft's pages show RS256.
        accepts_repeated: whether a registered certificate is registered once more, or refused.
        most_keys: how many certificates an application holds before it exceeds the size of a directory object.
    """

    def __init__(self, directory: Directory, *, url: str) -> None:
        self._directory = directory
        self._url = url
        self.audiences = proof.AUDIENCES
        self.algorithms = proof.DOCUMENTED_ALGORITHMS
        self.accepts_repeated = True
        self.most_keys = MOST_KEYS

    def add_key(self, object_id: str, body: bytes, *, client_id: str) -> Document:
        """Register a certificate and return its key credential, without the key.

        Args:
            object_id: of the application, from the address.
            body: of the request.
            client_id: of the application that calls.

        Raises:
            Refusal: the caller, the form, the proof, a policy or the size of the object does not permit it.
        """
        application = self._own(object_id, client_id)
        request = _object(body)
        certificate = _certificate(request)
        self._prove(application, request)
        if certificate.not_valid_after_utc.timestamp() <= self._directory.now():
            raise invalid_key("Key credential end date is invalid.", code="KeyCredentialsInvalidEndDate")
        _apply(self._directory.key_policy, certificate)
        if len(application.certificates) >= self.most_keys:
            raise too_large()
        der = certificate.public_bytes(Encoding.DER)
        try:
            key_id = self._directory.register_certificate(application.client_id, der, repeated=self.accepts_repeated)
        except ValueError as error:
            raise invalid_key(f"The key credential is invalid: {error}.") from error
        return {
            "@odata.context": f"{self._url}/v1.0/$metadata#microsoft.graph.keyCredential",
            "customKeyIdentifier": RegisteredCertificate(certificate).thumbprint,
            "displayName": certificate.subject.rfc4514_string(),
            "endDateTime": _moment(certificate.not_valid_after_utc),
            "key": None,
            "keyId": key_id,
            "startDateTime": _moment(certificate.not_valid_before_utc),
            "type": "AsymmetricX509Cert",
            "usage": "Verify",
        }

    def remove_key(self, object_id: str, body: bytes, *, client_id: str) -> None:
        """Remove a certificate by its key id.

        Raises:
            Refusal: the caller, the form or the proof does not permit it, or there is no such key.
        """
        application = self._own(object_id, client_id)
        request = _object(body)
        key_id = request.get("keyId")
        if not isinstance(key_id, str):
            raise invalid_input()
        self._prove(application, request)
        try:
            self._directory.remove_certificate(application.client_id, key_id)
        except KeyError:
            raise invalid_key(f"No key credential found with keyId '{key_id}'.") from None

    def _own(self, object_id: str, client_id: str) -> Application:
        """Return the application of the address, which must be the one that calls; another id tells nothing."""
        application = self._directory.application_object(object_id)
        if application is None or application.client_id != client_id:
            raise not_authorized()
        return application

    def _prove(self, application: Application, request: Mapping[str, object]) -> None:
        shown = request.get("proof")
        if shown is None:  # a permission would be needed in its place
            raise not_authorized()
        if not isinstance(shown, str):
            raise invalid_input()
        proof.check(
            shown,
            application,
            audiences=self.audiences,
            algorithms=self.algorithms,
            now=self._directory.now(),
        )


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid_input() from None
    if not isinstance(document, dict):
        raise invalid_input()
    return document


def _certificate(request: Mapping[str, object]) -> x509.Certificate:
    """Return the certificate of a request that has the documented form."""
    match request:
        case {"keyCredential": {"type": "AsymmetricX509Cert", "usage": "Verify", "key": str(key), **others}} if (
            request.get("passwordCredential") is None and others.get("keyId") is None
        ):
            pass
        case _:
            raise invalid_input()
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(key, validate=True))
        RegisteredCertificate(certificate)
    except (binascii.Error, ValueError):
        raise invalid_input() from None
    return certificate


def _apply(policy: KeyPolicy, certificate: x509.Certificate) -> None:
    """Raise for a certificate that the tenant's app-management policy forbids."""
    life = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()
    if policy.longest_life is not None and life > policy.longest_life:
        raise lifetime_forbidden()
    if policy.trusted_authorities is not None and not any(
        _issued_by(certificate, authority) for authority in policy.trusted_authorities
    ):
        raise untrusted_authority()


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _moment(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
