"""A client of Entra that makes everything by hand: its key, its certificate, its assertions."""

import base64
import datetime as dt
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from emulator.cloud import LocalCloud
from emulator.directory.objects import Application, ServicePrincipal
from emulator.seed import GRAPH, TENANT_ID


@dataclass
class Clock:
    """A time that passes only when told to."""

    moment: float

    def __call__(self) -> float:
        """Read it."""
        return self.moment


@dataclass(frozen=True)
class KeyPair:
    """A private key and the self-signed certificate that is uploaded for it."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def private_pem(self) -> str:
        """The private key as the libraries take it."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    @property
    def public_pem(self) -> str:
        """The certificate as the libraries take it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def thumbprint(self, algorithm: str) -> str:
        """Hash the certificate, base64url, with padding."""
        return base64.urlsafe_b64encode(hashlib.new(algorithm, self.der).digest()).decode()


def key_pair(*, starts: float, ends: float) -> KeyPair:
    """Make an RSA key and its certificate with these dates (epoch seconds)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return KeyPair(key, x509.load_der_x509_certificate(self_signed(key, starts=starts, ends=ends)))


def self_signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, starts: float, ends: float) -> bytes:
    """Make a certificate for a key, with these dates (epoch seconds), as DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vend")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.fromtimestamp(starts, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(ends, dt.UTC))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def compact(header: dict[str, Any], claims: dict[str, Any], *, signed_as: str, key: KeyPair) -> str:
    """Sign by hand: a JWT library refuses to make most of what is wrong here."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    text = b".".join(parts)
    algorithm = jwt.get_algorithm_by_name(signed_as)
    secrets = {"HS256": b"0" * 32, "none": None}
    signature = algorithm.sign(text, secrets.get(signed_as, key.key))
    return b".".join([text, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def new_principal(cloud: LocalCloud, *, tenant_id: str = TENANT_ID) -> ServicePrincipal:
    """Register an application and have a tenant consent to it."""
    client_id = str(uuid.uuid4())
    cloud.directory.add_application(Application(client_id, object_id=str(uuid.uuid4()), name="somebody"))
    return cloud.directory.consent(client_id, tenant_id=tenant_id)


def signed_token(cloud: LocalCloud, principal: ServicePrincipal, *, resource: str, lifetime: int = 3600) -> str:
    """Sign a token for a principal, without a request to Entra."""
    api = cloud.directory.api(resource)
    assert api
    return cloud.tokens.key.sign(cloud.tokens.claims(principal, api=api, resource=resource, lifetime=lifetime))


def graph_token(
    cloud: LocalCloud,
    *,
    resource: str = GRAPH,
    tenant_id: str = TENANT_ID,
    roles: frozenset[str] = frozenset({"User.Read.All"}),
) -> str:
    """Sign a token for a new principal that was granted these roles of Graph."""
    principal = new_principal(cloud, tenant_id=tenant_id)
    cloud.directory.grant(principal.object_id, resource=GRAPH, roles=roles)
    return signed_token(cloud, principal, resource=resource)
