"""What a client that is not vend needs in order to log in at the local cloud: a secret, a certificate, an identity.

The variables are those of the Azure SDKs where there are some, so that a test of another project needs no code of ours.
"""

import os
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator.cloud import LocalCloud
from emulator.directory.key_pair import key_pair
from emulator.seed import CLIENT_ID, CONTAINER, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID
from emulator.vault.policy import Policy

DAYS = 365.0
EXPORTABLE = "exportable"
"""The name of a certificate whose key the vault gives out."""
ROLES = ("Key Vault Certificates Officer", "Key Vault Certificate User")
"""What the managed identity may do beside signing: make certificates, and download them."""
SIGNALLED = 128


def login(cloud: LocalCloud, folder: Path) -> Mapping[str, str]:
    """Register what a client logs in with; return it as environment variables.

    Args:
        cloud: where it is registered.
        folder: for the file with certificate and key, and for the one with the roots.
    """
    der, pem = key_pair("client", now=cloud.clock(), days=DAYS)
    cloud.directory.register_certificate(CLIENT_ID, der)
    file = folder / "client.pem"
    file.touch(mode=0o600)
    file.write_text(pem)
    cloud.vault.create_certificate(EXPORTABLE, Policy(subject=f"CN={EXPORTABLE}", exportable=True))
    cloud.directory.register_certificate(CLIENT_ID, cloud.vault.certificate(EXPORTABLE))
    for role in ROLES:
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, role)
    roots = _roots(cloud, folder)
    return {
        "AZURE_AUTHORITY_HOST": cloud.authority,
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_CLIENT_ID": CLIENT_ID,
        "AZURE_CLIENT_SECRET": cloud.directory.add_secret(CLIENT_ID, lifetime=DAYS * 86_400),
        "AZURE_CLIENT_CERTIFICATE_PATH": str(file),
        "IDENTITY_ENDPOINT": cloud.identity_endpoint,
        "IDENTITY_HEADER": cloud.identity_header,
        "VEND_CLOUD_IDENTITY": IDENTITY_CLIENT_ID,
        "VEND_CLOUD_VAULT": cloud.vault_url,
        "VEND_CLOUD_GRAPH": cloud.graph_url,
        "VEND_CLOUD_BLOB": f"{cloud.blob_url}/{CONTAINER}",
        "VEND_CLOUD_MANAGEMENT": cloud.management_url,
        "VEND_CLOUD_ISSUER": cloud.issuer_url,
        "VEND_CONTROL": cloud.control,
        "SSL_CERT_FILE": str(roots),
        "REQUESTS_CA_BUNDLE": str(roots),
        "NODE_EXTRA_CA_CERTS": str(cloud.ca_file),
    }


def run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a program with these variables beside its own; return its exit code, as a shell would."""
    try:
        code = subprocess.run(command, env={**os.environ, **variables}, check=False).returncode  # noqa: S603
    except OSError as error:
        raise SystemExit(f"{command[0]} cannot be run ({type(error).__name__}).") from None
    return code if code >= 0 else SIGNALLED - code


def _roots(cloud: LocalCloud, folder: Path) -> Path:
    """Write the roots of this machine and that of the cloud into one file: the variables replace the roots."""
    file = folder / "roots.pem"
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    own = Path(named).read_text() if named and Path(named).is_file() else ""
    file.write_text(f"{own}\n{cloud.ca_file.read_text()}")
    return file
