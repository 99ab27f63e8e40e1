import subprocess
import sys

import pytest

from emulator.run import ROOT, DemoError, Site, ask, tour

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


def test_a_step_that_goes_otherwise_is_named(site: Site) -> None:
    """A demo that is not as it should be fails, and says what was expected, what came, and where to look."""
    ask(site)
    with pytest.raises(DemoError, match=r"expected: 200 identity_provider\ngot:      200 cache\nsee: .*app\.log"):
        tour(site)
