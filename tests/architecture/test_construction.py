"""Importing and constructing do no I/O: what they open, and whom they call, as the interpreter itself reports it.

https://docs.python.org/3/library/audit_events.html
"""

import json
from pathlib import Path

from emulator.network.ca import CertificateAuthority
from tests.architecture.test_deployment import ROOT, python

WATCH = """
import json, sys
found = []
CODE = (".py", ".pyc", ".so", ".pth")
WATCHED = ("socket.", "sqlite3.connect", "subprocess.", "os.", "shutil.", "tempfile.", "_thread.")
def watch(event, args):
    if event == "open" and isinstance(args[0], str) and not args[0].endswith(CODE):
        found.append(f"open {args[0]}")
    elif event.startswith(WATCHED) and event not in HARMLESS:
        found.append(event)
# Looking for a module lists folders; a socket that is never connected asks nobody.
HARMLESS = {"os.listdir", "os.scandir", "os.putenv", "os.unsetenv", "socket.__new__"}
"""
BUILD = """
from pathlib import Path
from shared.adapters.database.sqlite import in_file
from shared.adapters.database.store import SqlStore
from shared.core.directory.streams import STREAMS
from shared.runtime import build
from shared.system import System
from shared.telemetry.events import Events
import azure.identity.aio, httpcore
lines = []
sys.addaudithook(watch)
for name in NAMES:
    environ = {**ENVIRON, "VEND_CONFIG": name}
    build(environ, root=Path(FOLDER), events=Events(lines.append, wall=lambda: 0.0, worker="w"), system=System())
SqlStore(in_file(Path(FOLDER) / "directory.db"), streams=STREAMS.values())
assert lines == [], lines
"""
SETTINGS = """
callers = "CALLERS"
identity_client_id = "33333333-3333-3333-3333-333333333333"
network.ca_file = "FOLDER/ca.pem"
network.proxy = "http://proxy.example:3128"
profiles.graph.tenants = ["11111111-1111-1111-1111-111111111111"]
profiles.graph.client_id = "22222222-2222-2222-2222-222222222222"
profiles.graph.scopes = ["https://graph.microsoft.com/.default"]
profiles.graph.credentials = [{ type = "certificate", vault = "https://vend.vault.azure.net", name = "vend" }]
profiles.graph.vendable = false
sync.profile = "graph"
sync.store = "sqlite:///FOLDER/directory.db"
"""


def test_importing_the_app_touches_nothing() -> None:
    """An exception while Azure imports the app would take every function away: it only reads code."""
    code = f"{WATCH}\nsys.addaudithook(watch)\nimport function_app\nprint(json.dumps(found))"
    assert json.loads(python(code, ROOT)) == []


def test_a_worker_is_built_from_its_settings_alone(tmp_path: Path) -> None:
    """No constructor does I/O: no connection, no thread, and no file but those that the settings are read from."""
    CertificateAuthority().write(tmp_path)
    (tmp_path / "callers.toml").write_text("")
    places = {
        "file.toml": "callers.toml",
        "blob.toml": "https://vendstore.blob.core.windows.net/configuration/callers.toml",
    }
    for name, callers in places.items():
        (tmp_path / name).write_text(SETTINGS.replace("FOLDER", str(tmp_path)).replace("CALLERS", callers))
    environ = {"IDENTITY_ENDPOINT": "http://127.0.0.1:9/msi/token", "IDENTITY_HEADER": "a secret"}
    given = f"ENVIRON, FOLDER, NAMES = {environ!r}, {str(tmp_path)!r}, {[*places]!r}"
    found = json.loads(python(f"{WATCH}\n{given}\n{BUILD}\nprint(json.dumps(found))", ROOT))
    assert found == [f"open {tmp_path}/{name}" for name in ("file.toml", "ca.pem", "blob.toml", "ca.pem")]
