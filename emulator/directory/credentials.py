"""Certificates and secrets as Microsoft Graph shows them: names and dates, and never a key or the text of a secret.

Source: https://learn.microsoft.com/graph/api/resources/keycredential, .../passwordcredential
"""

import base64
import datetime as dt
from collections.abc import Mapping

from cryptography import x509

from emulator.directory.kinds import KEY_CREDENTIALS, PASSWORD_CREDENTIALS
from emulator.directory.objects import Application

FOR_EVER = "9999-12-31T23:59:59Z"


def key_credential(key_id: str, *, name: str, thumbprint: str, start: str, end: str) -> dict[str, object]:
    """Return a certificate as Graph has it, without the key; the thumbprint is hexadecimal."""
    return {
        "customKeyIdentifier": base64.b64encode(bytes.fromhex(thumbprint)).decode(),
        "displayName": name,
        "endDateTime": end,
        "key": None,
        "keyId": key_id,
        "startDateTime": start,
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    }


def password_credential(key_id: str, *, name: str | None, start: str, end: str) -> dict[str, object]:
    """Return a secret as Graph has it: never its text, but its first letters."""
    return {
        "customKeyIdentifier": None,
        "displayName": name,
        "endDateTime": end,
        "hint": key_id[:3],
        "keyId": key_id,
        "secretText": None,
        "startDateTime": start,
    }


def property_of(credential: Mapping[str, object]) -> str:
    """Return the property that holds a credential."""
    return KEY_CREDENTIALS if "usage" in credential else PASSWORD_CREDENTIALS


def of_application(application: Application) -> dict[str, object]:
    """Return the properties that hold the credentials by which an application authenticates to Entra."""
    keys = [
        key_credential(
            key_id,
            name=held.certificate.certificate.subject.rfc4514_string(),
            thumbprint=held.certificate.thumbprint,
            start=moment(_starts(held.certificate.certificate)),
            end=moment(_ends(held.certificate.certificate)),
        )
        for key_id, held in application.certificates.items()
    ]
    passwords = [
        password_credential(key_id, name=None, start=moment(secret.not_before), end=moment(secret.not_after))
        for key_id, secret in application.client_secrets.items()
    ]
    return {KEY_CREDENTIALS: keys, PASSWORD_CREDENTIALS: passwords}


def moment(time: float) -> str:
    """Write epoch seconds as Graph does."""
    return f"{dt.datetime.fromtimestamp(time, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _starts(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def _ends(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()
