"""`python -m emulator.host`: one process, one app."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SHOW_SETTINGS = """
import os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route()
async def settings(req: func.HttpRequest) -> str:
    return " ".join([os.environ["FROM_FILE"], os.environ["FROM_BOTH"], os.getcwd()])
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder for an app, with settings and no route prefix."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    values = {"FROM_FILE": "file", "FROM_BOTH": "file"}
    (folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    return folder


@contextmanager
def serving(app: Path) -> Iterator[httpx.Client]:
    """Run a host until the block ends; it must then stop cleanly by itself."""
    command = [sys.executable, "-m", "emulator.host", "--app", str(app), "--port", "0"]
    command += ["--keys", str(app.parent / "keys.json"), "--log", str(app.parent / "log")]
    environment = os.environ | {"FROM_BOTH": "environment"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=url, trust_env=False) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == ""


def test_settings_folder_and_prefix_are_the_apps_own(app: Path) -> None:
    """The environment wins over local.settings.json, the app's folder is the current one, and a prefix may be empty."""
    (app / "function_app.py").write_text(SHOW_SETTINGS)
    with serving(app) as client:
        assert client.get("/settings").text == f"file environment {app}"
        assert client.get("/api/settings").status_code == 404
    assert "dropped 0 log lines" in (app.parent / "log").read_text()


def test_a_host_ends_with_the_process_that_started_it(app: Path) -> None:
    """A parent that is killed cannot stop it; the pipe that it held is closed by the system."""
    (app / "function_app.py").write_text(SHOW_SETTINGS)
    command = [sys.executable, "-m", "emulator.host", "--app", str(app), "--port", "0", "--with-parent"]
    command += ["--keys", str(app.parent / "keys.json"), "--log", str(app.parent / "log")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Functions host:")
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=20) == 0


def test_an_app_that_can_not_be_imported_serves_nothing_and_says_why(app: Path) -> None:
    """One bad import takes every function down, not the host: callers get 404, the log the reason."""
    (app / "function_app.py").write_text(SHOW_SETTINGS + "\nraise RuntimeError('no import today')\n")
    with serving(app) as client:
        assert client.get("/settings").status_code == 404
        master = json.loads((app.parent / "keys.json").read_text())["master"]
        assert client.get("/admin/host/status", headers={"x-functions-key": master}).status_code == 200
    assert "no import today" in (app.parent / "log").read_text()


@pytest.mark.parametrize("content", ["[]", "not json", '{"master": "", "functionKeys": {}, "functions": {}}'])
def test_a_broken_key_store_stops_the_host_without_being_quoted(app: Path, content: str) -> None:
    """Keys are never made anew over a file that is something else."""
    keys = app.parent / "keys.json"
    keys.write_text(content)
    command = [sys.executable, "-m", "emulator.host", "--app", str(app), "--port", "0", "--keys", str(keys)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(str(keys))
    assert keys.read_text() == content
