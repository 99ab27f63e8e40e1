"""The host loses all of its keys: callers that show an identity token go on, and one command brings the others back."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from emulator.host.keys import KeyFile, Keys, generate
from emulator.seed import TENANT_ID, VEND
from emulator.tour.app import App
from emulator.tour.site import ADMIN, AT_ONCE, SCOPE, Site, app_settings, start
from shared.core.request import ASSERTION_TYPE
from tests.cli.conftest import Run
from tests.conftest import measured

CALLERS = 6
ALLOW = f'allow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]'


def account(number: int) -> str:
    """Name the service account of a caller."""
    return f"system:serviceaccount:team:service{number:03}"


def wanted(number: int) -> str:
    """Write callers with a service account each; every second one has a key too, by which it asks."""
    entries = [
        f"[callers.service{each:03}]\n{'key = true' if each % 2 else ''}\n"
        f'identity = [{{ issuer = "cluster", subject = "{account(each)}" }}]\n{ALLOW}\n'
        for each in range(number)
    ]
    return "\n".join([*entries, f"[callers.{ADMIN}]\nadmin = true\n"])


class Shop:
    """A site whose host can be restarted, with its callers."""

    def __init__(self, site: Site, stack: ExitStack, number: int) -> None:
        self.site = site
        self._stack = stack
        self.number = number

    def by_token(self) -> list[int]:
        """Have each caller without a key ask by its token, on the Entra-shaped route."""
        return [
            self._ask(
                f"/api/entra/{TENANT_ID}/oauth2/v2.0/token",
                client_id=f"service{each:03}",
                client_assertion_type=ASSERTION_TYPE,
                client_assertion=self.site.cloud.issuer.token(account(each), audience=VEND),
            )
            for each in range(0, self.number, 2)
        ]

    def keys(self) -> list[str]:
        """Read the key of each of the others from its file."""
        return [(self.site.folder / f"service{each:03}.key").read_text() for each in range(1, self.number, 2)]

    def by_key(self, keys: list[str]) -> list[int]:
        """Have them ask."""
        return [self._ask("/api/token", key=key) for key in keys]

    def lose_keys(self) -> None:
        """Have the host forget each key, the master key too, and start again, as where it cannot read its store."""
        port = int(self.site.app.url.rpartition(":")[2])
        self.site.app.__exit__(None, None, None)
        keys = self.site.folder / "host.keys.json"
        KeyFile(keys).write(Keys(generate(), {"default": generate()}, {}))
        settings = {**app_settings(self.site.cloud, self.site.folder / "vend.toml"), **measured()}
        self._stack.enter_context(App(settings=settings, keys=keys, log=self.site.folder / "app.log", port=port))

    def _ask(self, path: str, *, key: str = "", **fields: str) -> int:
        form = {"grant_type": "client_credentials", "scope": SCOPE, **fields}
        headers = {"x-functions-key": key} if key else {}
        return httpx.post(self.site.app.url + path, data=form, headers=headers, timeout=60, trust_env=False).status_code


@pytest.mark.nightly
def test_a_host_that_has_lost_its_keys(run: Run, tmp_path: Path) -> None:
    """One `apply` makes the callers, and one `rekey --all` mends what is lost; who has no key notices nothing."""
    lose_all_keys(run, tmp_path, CALLERS)


def lose_all_keys(run: Run, folder: Path, number: int) -> Mapping[str, float]:
    """Have a host lose the keys of so many callers, half of which need none; return the seconds of each command."""
    with ExitStack() as stack:
        site = start(stack, folder, settings=measured(), limits=AT_ONCE)
        shop, seconds = Shop(site, stack, number), dict[str, float]()
        (folder / "wanted.toml").write_text(wanted(number))
        environ = {"VEND_URL": site.app.url, "VEND_CONFIG": str(folder / "vend.toml")}
        half = [200] * (number // 2)

        def command(*words: str) -> str:
            began = time.monotonic()
            done = run(*words, **environ)
            seconds[words[-1]] = time.monotonic() - began
            assert done.exit_code == 0, done.output
            return done.output

        made = command("apply", str(folder / "wanted.toml"), "--yes")
        assert f"{number // 2} keys of {number // 2} work." in made
        lost = shop.keys()
        assert (shop.by_token(), shop.by_key(lost)) == (half, half)
        shop.lose_keys()
        assert shop.by_token() == half
        command("callers", "rekey", "--all")
        # Not before: the host looks for a key that it does not know once a minute alone.
        assert (shop.by_token(), shop.by_key(lost)) == (half, [401] * (number // 2))
        assert shop.by_key(shop.keys()) == half
    return seconds
