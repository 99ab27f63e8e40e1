"""Target 6: a new process to its first token, beside the same job as it is usually written."""

import sysconfig
import tempfile
import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.ours import SCOPE
from benchmarks.package import PROCESS, UV, start
from benchmarks.rows import VEND, Goal, Row, Scale, compared
from benchmarks.timing import MILLI, by_turns, medians
from emulator.cloud import LocalCloud
from emulator.host.keys import generate
from emulator.seed import CLIENT_ID, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID, TENANT_ID
from emulator.tour.site import CALLER, app_settings, write_configuration
from emulator.vault.policy import Policy
from scripts.package import PACKAGES, ROOT, build

AZURE = "azure-identity"
IMPORTED = "imported alone"
NAME = "exportable"
USUAL = """\
import time
began = time.perf_counter()
import azure.functions
library = time.perf_counter()
from azure.identity import CertificateCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
imported = time.perf_counter() - library

import base64, json, sys
vault, name, ca_file, authority, tenant, client, identity, scope = sys.argv[1:]
tls = {"connection_verify": ca_file, "use_env_settings": False}
secrets = SecretClient(
    vault, ManagedIdentityCredential(client_id=identity, **tls), verify_challenge_resource=False, **tls
)
credential = CertificateCredential(
    tenant,
    client,
    certificate_data=base64.b64decode(secrets.get_secret(name).value),
    authority=authority,
    disable_instance_discovery=True,
    **tls,
)
assert credential.get_token(scope).token
print(json.dumps([imported, time.perf_counter() - began]))
"""
IMPORT = """\
import time
import azure.functions
began = time.perf_counter()
import function_app
print([time.perf_counter() - began] * 2)
"""


def rows(scale: Scale) -> list[Row]:
    """Start new processes by turns: vend, its import alone, and the same job with the libraries.

    vend has the packages that are deployed. The library has those of this environment, which are compiled too. Both
    imports are timed after azure.functions, which both need.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app = folder / VEND
        with zipfile.ZipFile(build(ROOT, folder, uv=UV)) as packed:
            packed.extractall(app)
        packages = [app / PACKAGES, app]
        cloud = stack.enter_context(LocalCloud(folder))
        cloud.vault.create_certificate(NAME, Policy("CN=vend"))
        cloud.directory.register_certificate(CLIENT_ID, cloud.vault.certificate(NAME))
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, "Key Vault Secrets User")
        key = generate()
        write_configuration(cloud, folder, {CALLER: key})
        settings = app_settings(cloud, folder / "vend.toml")
        form = f"grant_type=client_credentials&scope={SCOPE}"
        usual = [
            cloud.vault_url, NAME, str(cloud.ca_file), cloud.authority, TENANT_ID, CLIENT_ID, IDENTITY_CLIENT_ID, SCOPE,
        ]  # fmt: skip
        contenders = {
            VEND: partial(start, PROCESS, packages, settings, key, form),
            AZURE: partial(start, USUAL, [Path(sysconfig.get_path("purelib"))], settings, *usual),
            IMPORTED: partial(start, IMPORT, packages, settings),
        }
        for contender in contenders.values():
            contender()  # the files are in the memory of the machine from here on
        found = by_turns(contenders, scale)
    imports = medians({name: [start.imported * MILLI for start in starts] for name, starts in found.items()})
    tokens = medians({name: [found.first_token * MILLI for found in starts] for name, starts in found.items()})
    return [
        compared(
            {VEND: imports[IMPORTED], AZURE: imports[AZURE]},
            row_id="first-import",
            what="New process: import of function_app, without the time of azure.functions",
            unit="ms",
            against=AZURE,
            goal=Goal("ours", "<=", 30),
        ),
        compared(
            {VEND: tokens[VEND], AZURE: tokens[AZURE]},
            row_id="first-token",
            what="New process to its first token, certificate in Key Vault (a library needs the key itself)",
            unit="ms",
            against=AZURE,
            goal=Goal("ratio", "<=", 0.9),
        ),
    ]
