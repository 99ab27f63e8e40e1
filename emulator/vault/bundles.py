"""The answers of the local vault: certificates, keys and secrets as the documents that the SDKs read."""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from emulator.vault.certificates import signing_request, thumbprint, write
from emulator.vault.keys import jwk
from emulator.vault.secrets import Secret
from emulator.vault.store import RETENTION, Certificate, Version

LATER = {"Retry-After": "10"}

type Document = dict[str, object]


@dataclass(frozen=True)
class Bundles:
    """Renders state as seen under one base URL, which all ids begin with."""

    base: str

    def certificate(self, version: Version) -> Document:
        """Render one version; one that is pending has no certificate yet, and so no key and secret to name."""
        if version.pending:
            return self.certificate_item(version)
        return {
            **self.certificate_item(version),
            "kid": self.id("keys", version),
            "sid": self.id("secrets", version),
            "cer": base64.b64encode(version.material.certificate.public_bytes(Encoding.DER)).decode(),
        }

    def latest(self, certificate: Certificate) -> Document:
        """Render the latest version together with what belongs to the name: policy and pending operation."""
        document = {**self.certificate(certificate.latest), "policy": self.policy(certificate)}
        if certificate.operation:
            document["pending"] = {"id": self._pending_id(certificate)}
        return document

    def deleted(self, certificate: Certificate) -> Document:
        """Render a certificate in the recycle bin."""
        return {**self.latest(certificate), **self._recovery(certificate)}

    def certificate_item(self, version: Version) -> Document:
        """Render a version as a line of a list."""
        if version.pending:
            return {"id": self.id("certificates", version), "attributes": _attributes(version)}
        return {
            "id": self.id("certificates", version),
            "x5t": thumbprint(version.material.certificate),
            "attributes": _attributes(version),
            "tags": version.tags,
            "subject": version.policy.subject,
        }

    def name_item(self, certificate: Certificate) -> Document:
        """Render a name as a line of a list: its id has no version."""
        item = {
            **self.certificate_item(certificate.latest),
            "id": f"{self.base}/certificates/{certificate.name}",
        }
        return item | self._recovery(certificate) if certificate.deleted is not None else item

    def policy(self, certificate: Certificate) -> Document:
        """Render the policy with its id and dates."""
        return {
            "id": f"{self.base}/certificates/{certificate.name}/policy",
            **certificate.policy.to_json(),
            "attributes": {
                "enabled": True,
                "created": certificate.policy_created,
                "updated": certificate.policy_updated,
            },
        }

    def operation(self, certificate: Certificate, *, done: bool) -> Document:
        """Render the pending operation."""
        document: Document = {
            "id": self._pending_id(certificate),
            "issuer": {"name": certificate.policy.issuer},
            "csr": signing_request(certificate.latest.material),
            "cancellation_requested": False,
            "request_id": certificate.operation,
        }
        if done:
            return {
                **document,
                "status": "completed",
                "target": f"{self.base}/certificates/{certificate.name}",
            }
        return {
            **document,
            "status": "inProgress",
            "status_details": "Pending certificate created. Certificate request is in progress. This may take some "
            "time based on the issuer provider. Please check again later.",
        }

    def progress(self, certificate: Certificate, *, api_version: str) -> dict[str, str]:
        """Return the headers that tell a client where and when to look for the end of the operation."""
        query = f"api-version={api_version}&request_id={certificate.operation}"
        return {"Location": f"{self._pending_id(certificate)}?{query}", **LATER}

    def key(self, version: Version) -> Document:
        """Render the public key of a version."""
        return {
            "key": jwk(version, self.id("keys", version)),
            "attributes": _attributes(version),
            "tags": version.tags,
            "managed": True,
        }

    def plain_secret(self, secret: Secret) -> Document:
        """Render a version of a plain secret."""
        return {"value": secret.value, **self.plain_secret_item(secret)}

    def plain_secret_item(self, secret: Secret) -> Document:
        """Render a version of a plain secret as a line of a list, which has no value."""
        dates = {"nbf": secret.not_before, "exp": secret.expires}
        return {
            **({"contentType": secret.content_type} if secret.content_type else {}),
            "id": f"{self.base}/secrets/{secret.name}/{secret.id}",
            "attributes": {
                "enabled": secret.enabled,
                **{name: date for name, date in dates.items() if date is not None},
                "created": secret.created,
                "updated": secret.updated,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": RETENTION.days,
            },
        }

    def secret(self, version: Version) -> Document:
        """Render the secret of a version, with its private key when that is exportable."""
        policy = version.policy
        value = write(version.material, content_type=policy.content_type, exportable=policy.exportable)
        return {"kid": self.id("keys", version), "value": value, **self.secret_item(version)}

    def secret_item(self, version: Version) -> Document:
        """Render the secret of a version as a line of a list, which has no value."""
        return {
            "id": self.id("secrets", version),
            "contentType": version.policy.content_type,
            "attributes": _attributes(version),
            "tags": version.tags,
            "managed": True,
        }

    def id(self, collection: str, version: Version) -> str:
        """Build the address of a version as a certificate, key or secret."""
        return f"{self.base}/{collection}/{version.name}/{version.id}"

    def _pending_id(self, certificate: Certificate) -> str:
        return f"{self.base}/certificates/{certificate.name}/pending"

    def _recovery(self, certificate: Certificate) -> Document:
        return {
            "recoveryId": f"{self.base}/deletedcertificates/{certificate.name}",
            "deletedDate": certificate.deleted,
            "scheduledPurgeDate": certificate.purges,
        }


def _attributes(version: Version) -> Document:
    return {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION.days,
    }
