"""X.509 in the local vault: making a self-signed certificate, reading an imported one, writing the secret of either."""

import base64
import calendar
import datetime as dt
import re
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtensionOID

from emulator import base64url
from emulator.vault.errors import bad_parameter
from emulator.vault.policy import CURVES, PEM, Policy, check_key_size

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# The names of JOSE (RFC 7518 section 6.2.1.1, RFC 8812) for the library's.
CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "P-256K"}
CURVE_TYPES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1(), "P-256K": ec.SECP256K1(),
}  # fmt: skip

# Key Vault starts a certificate ten minutes in the past, for clocks that are behind.
SKEW = dt.timedelta(minutes=10)

USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
USAGES_THAT_NEED_AGREEMENT = {"encipherOnly", "decipherOnly"}

UNREADABLE_PFX = (
    "The specified PKCS#12 X.509 certificate content can not be read. "
    "Please check if certificate is in valid PKCS#12 format."
)
UNREADABLE_PEM = (
    "The specified PEM X.509 certificate content is in an unexpected format. "
    "Please check if certificate is in valid PEM format."
)


@dataclass(frozen=True)
class Material:
    """A certificate, its private key and the certificates above it."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()


def make(policy: Policy, *, now: dt.datetime, key: PrivateKey | None = None) -> Material:
    """Make a self-signed certificate, with a new key unless one is given.

    Raises:
        Refusal: 400, the policy names a subject or usage that no certificate can hold.
    """
    try:
        name = _name(policy.subject)
        extensions = _extensions(policy)
        key = key or _new_key(policy)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(_months_later(now, policy.validity_months))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return Material(builder.sign(key, hashes.SHA256()), key)
    except ValueError as error:
        raise bad_parameter(f"The certificate policy is invalid: {error}") from error


def read(value: str, *, password: str | None, content_type: str) -> Material:
    """Read what a client imports: base64 of a PFX or of a PEM file, or a PEM file as it is.

    Raises:
        Refusal: 400, it is unreadable, holds no private key that belongs to the certificate, or a key that Key Vault
            does not take.
    """
    unreadable = bad_parameter(UNREADABLE_PEM if content_type == PEM else UNREADABLE_PFX)
    try:
        material = _read_pem(value) if content_type == PEM else _read_pfx(value, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unreadable from error
    if isinstance(material.key, rsa.RSAPrivateKey):
        check_key_size(material.key.key_size)
    elif curve_of(material.key.curve) is None:
        raise bad_parameter(f"Unsupported elliptic curve. Supported curves are {', '.join(CURVES)}")
    if material.key.public_key() != material.certificate.public_key():
        raise bad_parameter("The private key does not belong to the specified X.509 certificate")
    return material


def write(material: Material, *, content_type: str, exportable: bool) -> str:
    """Write the value of a certificate's secret; a key that is not exportable stays out of it."""
    if content_type == PEM:
        key = (
            material.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            if exportable
            else b""
        )
        certificates = (material.certificate, *material.chain)
        return (key + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)).decode()
    pfx = pkcs12.serialize_key_and_certificates(
        None,
        material.key if exportable else None,
        material.certificate,
        material.chain,
        serialization.NoEncryption(),
    )
    return base64.b64encode(pfx).decode()


def describe(certificate: x509.Certificate, policy: Policy) -> Policy:
    """Make a policy say what an imported certificate is, whatever the import said."""
    usages = _extension(certificate, ExtensionOID.KEY_USAGE, x509.KeyUsage)
    ekus = _extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE, x509.ExtendedKeyUsage)
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    curve = curve_of(key.curve) if isinstance(key, ec.EllipticCurvePublicKey) else None
    return replace(
        policy,
        subject=certificate.subject.rfc4514_string(),
        key_size=key.key_size,
        curve=curve,
        key_usage=_usages(usages) if usages else ("digitalSignature",) if curve else Policy.key_usage,
        ekus=tuple(oid.dotted_string for oid in ekus) if ekus else (),
    )


def thumbprint(certificate: x509.Certificate) -> str:
    """Compute `x5t`: base64url of the SHA-1 of the DER certificate (RFC 7517 section 4.8)."""
    digest = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - the name of the field means SHA-1
    return base64url.encode(digest)


def signing_request(material: Material) -> str:
    """Return the PKCS #10 request for a certificate, base64 of DER, as the pending operation shows it."""
    request = x509.CertificateSigningRequestBuilder().subject_name(material.certificate.subject)
    return base64.b64encode(
        request.sign(material.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    ).decode()


def curve_of(curve: ec.EllipticCurve) -> str | None:
    """Return the name by which JOSE knows a curve, if Key Vault takes it."""
    return CURVE_NAMES.get(curve.name)


def _new_key(policy: Policy) -> PrivateKey:
    if policy.curve:
        return ec.generate_private_key(CURVE_TYPES[policy.curve])
    return rsa.generate_private_key(public_exponent=65537, key_size=policy.key_size)


def _read_pfx(value: str, password: str | None) -> Material:
    data = base64.b64decode(value, validate=True)
    key, certificate, chain = pkcs12.load_key_and_certificates(data, password.encode() if password else None)
    if certificate is None or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("no RSA or EC key with its certificate")
    return Material(certificate, key, tuple(chain))


def _read_pem(value: str) -> Material:
    data = value.encode()
    if not data.lstrip().startswith(b"-----BEGIN"):
        data = base64.b64decode(data, validate=True)
    certificate, *chain = x509.load_pem_x509_certificates(data)
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("no RSA or EC key")
    return Material(certificate, key, tuple(chain))


def _name(subject: str) -> x509.Name:
    # An X.500 name as people write it (`cn=a, o=b`) becomes what RFC 4514 wants.
    tidy = re.sub(r"(^|,)\s*([A-Za-z]+)\s*=\s*", lambda match: f"{match[1]}{match[2].upper()}=", subject)
    return x509.Name.from_rfc4514_string(tidy)


def _extensions(policy: Policy) -> list[tuple[x509.ExtensionType, bool]]:
    flags = {flag: usage in policy.key_usage for usage, flag in USAGES.items()}
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), False),
        (x509.KeyUsage(**flags), True),
    ]
    if policy.ekus:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in policy.ekus]), False))
    names = [*map(x509.DNSName, policy.dns_names), *map(x509.RFC822Name, policy.emails)]
    if names:
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def _usages(usages: x509.KeyUsage) -> tuple[str, ...]:
    # Without key agreement the library refuses to say what these two are.
    known = USAGES if usages.key_agreement else {k: v for k, v in USAGES.items() if k not in USAGES_THAT_NEED_AGREEMENT}
    return tuple(usage for usage, flag in known.items() if getattr(usages, flag))


def _extension[T: x509.ExtensionType](
    certificate: x509.Certificate, oid: x509.ObjectIdentifier, kind: type[T]
) -> T | None:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    return value if isinstance(value, kind) else None


def _months_later(start: dt.datetime, months: int) -> dt.datetime:
    years, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + years, month + 1
    return start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))
