"""Every kind of credential in a local cloud: made, registered with a new client, and written as vend.toml has it."""

import base64
import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm

from emulator.cloud import LocalCloud
from emulator.seed import IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID, TOKEN_EXCHANGE
from emulator.vault.policy import PEM, PFX, Policy
from tests.emulator.client import new_principal
from tests.pki import Signed, chain, pem, pfx

ISSUER, SUBJECT = "https://tokens.example", "repo:contoso/vend:ref:refs/heads/main"
FOREIGN_HEADER = {"kid": "foreign"}
"""Names the key of the foreign issuer: Entra looks for it among those that the issuer publishes."""
PASSWORD = "open sesame: the password of a file"
DAY = dt.timedelta(days=1)
SECRET_SECONDS = 2 * 86_400.0
"""The life of a client secret: longer than that of a token."""


@dataclass
class Client:
    """A new client in a cloud, and the folder of the app."""

    cloud: LocalCloud
    folder: Path
    id: str
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """What must be printed nowhere and be in no file that is not its own, by what it is."""
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    files: set[Path] = field(default_factory=set)
    """The files that a secret is in because the operator has put it there."""

    @property
    def vault_certificate(self) -> str:
        """Its certificate in the vault is named after it."""
        return f"of-{self.id}"

    @property
    def vault_secret(self) -> str:
        """And so is its secret."""
        return f"secret-{self.id}"

    @property
    def now(self) -> dt.datetime:
        """The time of the cloud."""
        return dt.datetime.fromtimestamp(self.cloud.clock(), dt.UTC)

    def settings(self, *credentials: str) -> str:
        """Write it as the client of the profile, with some credentials."""
        listed = ", ".join(f"{{ {each} }}" for each in credentials)
        return f'profiles.graph.client_id = "{self.id}"\nprofiles.graph.credentials = [{listed}]\n'

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the operator into the root of the app."""
        (self.folder / name).write_bytes(content)
        self.files.add(self.folder / name)

    def keep(self, key: rsa.RSAPrivateKey) -> None:
        """Remember the private key that nobody may see, by the prime that makes it one."""
        self.secrets["prime, in decimal"] = str(key.private_numbers().p)
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.secrets["key"] = base64.b64encode(der[60:]).decode()


def new_client(cloud: LocalCloud, folder: Path) -> Client:
    """Register a client that has no credential yet."""
    return Client(cloud, folder, str(new_principal(cloud).app_id))


def in_vault(client: Client, *, exportable: bool = False, content_type: str = PFX, more: str = "") -> str:
    """Make a certificate in the vault and register it."""
    name = client.vault_certificate
    policy = Policy("CN=vend", exportable=exportable, content_type=content_type)
    client.cloud.vault.create_certificate(name, policy)
    client.cloud.directory.register_certificate(client.id, client.cloud.vault.certificate(name))
    client.keep(client.cloud.vault.private_key(name))
    return f'type = "certificate", vault = "{client.cloud.vault_url}", name = "{name}"{more}'


def imported(client: Client) -> str:
    """Import a certificate with a chain above it, which is upside down in the file."""
    leaf, issuing, root = authority(client.now.date())
    value = pem(leaf.key, leaf.certificate, root.certificate, issuing.certificate).decode()
    client.cloud.vault.import_certificate(client.vault_certificate, value, content_type=PEM)
    register(client, leaf)
    about = f'vault = "{client.cloud.vault_url}", name = "{client.vault_certificate}"'
    return f'type = "certificate", {about}, signing = "local", send_x5c = true'


@cache
def authority(today: dt.date) -> tuple[Signed, Signed, Signed]:
    """Make one certificate with those above it, for every test of a day."""
    noon = dt.datetime.combine(today, dt.time(12), dt.UTC)
    return chain(starts=noon - DAY, ends=noon + 300 * DAY)


def register(client: Client, leaf: Signed) -> None:
    """Register a certificate, whose key nobody may see."""
    assert isinstance(leaf.key, rsa.RSAPrivateKey)
    client.cloud.directory.register_certificate(client.id, leaf.der)
    client.keep(leaf.key)


def pem_file(client: Client) -> str:
    """Write a PEM file with a chain."""
    leaf, issuing, root = authority(client.now.date())
    client.write("vend.pem", pem(root.certificate, issuing.certificate, leaf.certificate, leaf.key))
    register(client, leaf)
    return 'type = "certificate_file", path = "vend.pem"'


def pfx_file(client: Client) -> str:
    """Write a PFX file with a chain and a password, which is an app setting."""
    leaf, issuing, _ = authority(client.now.date())
    client.write("vend.pfx", pfx(leaf.key, leaf.certificate, [issuing.certificate], password=PASSWORD))
    register(client, leaf)
    client.environ["CERTIFICATE_PASSWORD"] = client.secrets["password"] = PASSWORD
    return 'type = "certificate_file", path = "vend.pfx", password = "${CERTIFICATE_PASSWORD}", send_x5c = true'


def federated(client: Client) -> str:
    """Trust the app's identity."""
    issuer = f"{client.cloud.authority}/{TENANT_ID}/v2.0"
    client.cloud.directory.add_federated_credential(
        client.id, issuer=issuer, subject=IDENTITY_PRINCIPAL_ID, audience=TOKEN_EXCHANGE
    )
    return f'type = "federated_managed_identity", identity_client_id = "{IDENTITY_CLIENT_ID}"'


def vault_secret(client: Client) -> str:
    """Put a client secret into the vault."""
    client.secrets["client secret"] = client.cloud.directory.add_secret(client.id, lifetime=SECRET_SECONDS)
    client.cloud.vault.set_secret(client.vault_secret, client.secrets["client secret"])
    return f'type = "secret", vault = "{client.cloud.vault_url}", name = "{client.vault_secret}"'


def setting_secret(client: Client) -> str:
    """Put a client secret into an app setting."""
    secret = client.cloud.directory.add_secret(client.id, lifetime=SECRET_SECONDS)
    client.secrets["client secret"] = client.environ["CLIENT_SECRET"] = secret
    return 'type = "secret", value = "${CLIENT_SECRET}"'


@cache
def foreign_key() -> rsa.RSAPrivateKey:
    """Make the key of a foreign issuer."""
    return rsa.generate_private_key(65_537, 2_048)


def assertion_file(client: Client) -> str:
    """Have a foreign issuer write an assertion into a file, as Kubernetes does."""
    publish(client, ISSUER)
    client.cloud.directory.add_federated_credential(client.id, issuer=ISSUER, subject=SUBJECT, audience=TOKEN_EXCHANGE)
    write_assertion(client)
    return 'type = "assertion_file", path = "tokens/assertion"'


def publish(client: Client, issuer: str) -> None:
    """Publish the key of a foreign issuer."""
    key: Mapping[str, object] = json.loads(RSAAlgorithm.to_jwk(foreign_key().public_key()))
    client.cloud.directory.publish_keys(issuer, {"keys": [{**key, **FOREIGN_HEADER}]})


def write_assertion(client: Client) -> str:
    """Write a new assertion over the one that is there, and return its `jti`."""
    now = int(client.cloud.clock())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": TOKEN_EXCHANGE, "jti": str(uuid.uuid4()), "iat": now, "nbf": now}
    text = jwt.encode({**claims, "exp": now + 600}, foreign_key(), algorithm="RS256", headers=FOREIGN_HEADER)
    client.secrets[f"assertion {claims['jti']}"] = text
    (client.folder / "tokens").mkdir(exist_ok=True)
    client.write("tokens/assertion", f"{text}\n".encode())
    return str(claims["jti"])


@dataclass(frozen=True)
class Kind:
    """One kind of credential.

    Args:
        id: its name.
        make: makes one for a client, and returns the keys of its table in vend.toml.
        proof: by what Entra knows the client afterwards: "certificate", "issuer" or "secret".
        role: that the app's identity needs in the vault beside that of signing.
    """

    id: str
    make: Callable[[Client], str]
    proof: str
    role: str = ""


READS_SECRETS = "Key Vault Secrets User"
KINDS = (
    Kind("certificate, signed in the vault", in_vault, "certificate"),
    Kind("certificate with x5c", lambda client: in_vault(client, more=", send_x5c = true"), "certificate"),
    Kind(
        "certificate, signed here, PFX",
        lambda client: in_vault(client, exportable=True, more=', signing = "local"'),
        "certificate",
        READS_SECRETS,
    ),
    Kind(
        "certificate, signed here, PEM",
        lambda client: in_vault(client, exportable=True, content_type=PEM, more=', signing = "local"'),
        "certificate",
        READS_SECRETS,
    ),
    Kind("certificate, signed here, with a chain and x5c", imported, "certificate", READS_SECRETS),
    Kind("federated_managed_identity", federated, "issuer"),
    Kind("secret in the vault", vault_secret, "secret", READS_SECRETS),
    Kind("secret in an app setting", setting_secret, "secret"),
    Kind("certificate_file, PEM", pem_file, "certificate"),
    Kind("certificate_file, PFX with a password and x5c", pfx_file, "certificate"),
    Kind("assertion_file", assertion_file, "issuer"),
)
