import subprocess
import sys

import pytest

from emulator.run import ROOT

pytestmark = pytest.mark.slow


def test_the_demo_shows_both_tokens() -> None:
    """`make demo` vends one token from Entra, signed in the vault, and the same one from the cache, with both times."""
    done = subprocess.run(  # our own program
        [sys.executable, "-m", "emulator.run", "--once"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ms  identity_provider" in done.stdout
    assert "signed in the vault 1 time" in done.stdout
    assert " ms  cache" in done.stdout
    assert not (ROOT / ".run-demo").exists()
