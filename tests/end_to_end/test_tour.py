import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from emulator.__main__ import main, trial
from emulator.network.faults import Fault, Kind
from emulator.tour.site import ROOT, SCOPE, Site
from emulator.tour.tour import OTHER_SCOPE
from tests.conftest import measured

pytestmark = pytest.mark.slow

# What docs/local.md shows; times, ages and ids vary.
VARIES = re.compile(r"\d+\.\d ms|\d+ min|[0-9a-f]{12}|[0-9a-f]{4}\.\.[0-9a-f]{2}|\.run(-demo)?/")


def shape(text: str) -> list[str]:
    """Keep what does not vary of an output."""
    return [re.sub(" +", " ", VARIES.sub("*", line)).strip() for line in text.splitlines()]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app is measured where the tests are."""
    for name, value in measured().items():
        monkeypatch.setenv(name, value)


def test_the_demo_is_the_one_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """`make demo` prints the lines that docs/local.md shows, six steps of them, and leaves nothing behind.

    A run of the sync before them does not matter: its token is of another client, and may come at any moment.
    """
    main(["--once"], prepare=sync)
    page = (ROOT / "docs" / "local.md").read_text()
    shown = page[page.index("Local Entra, Key Vault, Graph") : page.index("All six steps as expected.")]
    *printed, _ = shape(capsys.readouterr().out)  # the last line leads to `make run`
    assert printed == [*shape(shown), "All six steps as expected."]
    assert "\n".join(trial("localhost:7071")) in page
    assert not (ROOT / ".run-demo").exists()


def sync(site: Site) -> None:
    """Do what the timer does, which asks the vault for a signature of its own."""
    headers = {"x-functions-key": site.admin_key}
    assert httpx.post(f"{site.app.url}/api/sync?stream=applications", headers=headers, timeout=60).is_success


def no_entra(site: Site) -> None:
    """Break the first step."""
    site.cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503))


def no_cache(site: Site) -> None:
    """Break the second step: no token lives long enough to be served again."""
    lines = "[limits]\nmin_remaining_seconds = 3600\nmin_remaining_failing_seconds = 3600\n"
    edit(site.folder / "vend.toml", "[limits]\n", lines)


def shut(site: Site) -> None:
    """Break the third step: the operator has not opened the route of the Azure SDKs."""
    edit(site.folder / "vend.toml", "app_checked_routes = true", "app_checked_routes = false")


def too_much_allowed(site: Site) -> None:
    """Break the fourth step: the caller was given Key Vault after all."""
    for name in ("vend.toml", "callers.toml"):
        edit(site.folder / name, f'["{SCOPE}"]', f'["{SCOPE}", "{OTHER_SCOPE}"]')


def four_a_minute(site: Site) -> None:
    """Break the fifth step: it is the caller's fifth request within a minute."""
    edit(site.folder / "callers.toml", "[callers.billing]\n", "[callers.billing]\nper_worker_per_minute = 4\n")


def no_graph(site: Site) -> None:
    """Break the sixth step."""
    site.cloud.faults["graph"].set(Fault(kind=Kind.STATUS, status=403))


def edit(file: Path, old: str, new: str) -> None:
    """Change a configuration."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "step", "got"),
    [
        (no_entra, 1, "503 temporarily_unavailable"),
        (no_cache, 2, "200 identity_provider"),
        (shut, 3, "azure.identity._exceptions.CredentialUnavailableError"),
        (too_much_allowed, 4, "200  None  retryable=null"),
        (four_a_minute, 5, "429 slow_down"),
        (no_graph, 6, "failed Graph: HTTP 403"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_step_that_goes_otherwise_is_named(spoil: Callable[[Site], None], step: int, got: str) -> None:
    """`make demo` exits with 1 and says which step, what was expected, what came, and which file to open."""
    with pytest.raises(SystemExit) as ended:
        main(["--once"], prepare=spoil)
    text = ended.value.code
    assert isinstance(text, str)  # printed to stderr; the exit status is 1 then
    first, expected, came, see = text.splitlines()
    assert first == f"step {step} is not as it should be"
    assert expected.startswith("expected: ")
    assert came.startswith(f"got:      {got}")
    assert Path(see.removeprefix("see:      ")).is_file()
    shutil.rmtree(ROOT / ".run-demo")
