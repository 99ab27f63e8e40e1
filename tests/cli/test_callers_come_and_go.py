"""`./vend callers` against the app as it runs."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from emulator.tour.site import SCOPE, start
from tests.cli.conftest import Run
from tests.conftest import measured

LIMITS = {"callers_refresh_seconds": 0.001, "callers_must_check_seconds": 0.002}


@pytest.mark.slow
def test_a_caller_comes_and_goes_while_the_app_runs(run: Run, tmp_path: Path) -> None:
    """One command, no restart: the new key opens; revoked, it opens nothing, although the host still remembers it."""
    with ExitStack() as stack:
        site = start(stack, tmp_path, settings=measured(), limits=LIMITS)
        environ = {"VEND_URL": site.app.url, "VEND_CONFIG": str(tmp_path / "vend.toml")}
        added = run("callers", "add", "reports", "--allow", SCOPE, **environ)
        environ["VEND_KEY_FILE"] = str(tmp_path / "key")
        (tmp_path / "key").write_text((tmp_path / "reports.key").read_text())
        vended = run("token", "reports", "--scope", SCOPE, **environ)
        revoked = run("callers", "revoke", "reports", **environ)
        refused = run("token", "reports", "--scope", SCOPE, **environ)
    assert (added.exit_code, vended.exit_code, revoked.exit_code, refused.exit_code) == (0, 0, 0, 1)
    assert "The key works." in added.stdout
    assert refused.stderr.startswith("401 invalid_client\n")
