"""The local cloud for the tests of another project, whose program logs in by what the environment has."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import jwt
import pytest

from emulator.cloud import LocalCloud
from emulator.foreign import login, run
from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID
from tests.cli.conftest import ROOT, launch

PROGRAM = """
import os
from azure.identity import CertificateCredential, EnvironmentCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from base64 import b64decode
tenant, client = os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"]
file = os.environ["AZURE_CLIENT_CERTIFICATE_PATH"]
for credential in (
    EnvironmentCredential(disable_instance_discovery=True),
    CertificateCredential(tenant, client, certificate_path=file, disable_instance_discovery=True),
):
    print(credential.get_token("https://graph.microsoft.com/.default").token)
identity = ManagedIdentityCredential(client_id=os.environ["VEND_CLOUD_IDENTITY"])
vault = SecretClient(os.environ["VEND_CLOUD_VAULT"], identity, verify_challenge_resource=False)
print(load_pkcs12(b64decode(vault.get_secret("exportable").value), None).key.key_size)
raise SystemExit(7)
"""


@pytest.mark.slow
def test_a_program_of_another_project_logs_in(tmp_path: Path) -> None:
    """FND-E12. By a secret, by a certificate, and by an identity that downloads one; its exit code counts."""
    done = launch("cloud", "--", sys.executable, "-I", "-c", PROGRAM, environ={}, cwd=tmp_path)
    by_secret, by_certificate, size = done.stdout.splitlines()
    for token in (by_secret, by_certificate):
        assert jwt.decode(token, options={"verify_signature": False})["aud"] == GRAPH
    assert (size, done.returncode, list(tmp_path.iterdir())) == ("2048", 7, [])


def test_a_certificate_is_made_on_request(cloud: LocalCloud) -> None:
    """By the control API: the answer has the key, and Entra knows the certificate."""
    url = f"{cloud.control}/applications/{CLIENT_ID}/certificates"
    made = httpx.post(url, json={"lifetime_days": 90}).json()
    assert made["pem"].startswith("-----BEGIN PRIVATE KEY-----")
    application = cloud.directory.application(CLIENT_ID)
    assert application
    assert made["id"] in application.certificates


def test_the_program_keeps_the_roots_of_its_machine(cloud: LocalCloud, tmp_path: Path) -> None:
    """SSL_CERT_FILE takes the place of all roots, and a program may speak to others than the local cloud."""
    variables = login(cloud, tmp_path)
    roots = Path(variables["SSL_CERT_FILE"]).read_text()
    assert cloud.ca_file.read_text() in roots
    assert (tmp_path / "client.pem").stat().st_mode & 0o777 == 0o600
    assert variables["AZURE_TENANT_ID"] == TENANT_ID
    assert run(["sh", "-c", 'kill -TERM "$$"'], variables) == 143
    with pytest.raises(SystemExit, match="cannot be run"):
        run(["/nowhere"], variables)


def test_the_image_has_what_the_cloud_needs(tmp_path: Path) -> None:
    """What the Containerfile copies exists, and starts without the rest of this repository."""
    recipe = (ROOT / "Containerfile").read_text()
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", recipe, re.MULTILINE):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, tmp_path / target)
    command = [sys.executable, "-m", "emulator", "--cloud", "--", "true"]
    environ = {"PATH": os.environ["PATH"]}
    assert subprocess.run(command, cwd=tmp_path, env=environ, check=False).returncode == 0
