"""Target 5: requests a second through Microsoft's runtime behind the local host, with keys, policy and audit."""

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import load
from benchmarks.local_entra import DAY
from benchmarks.ours import SCOPE
from benchmarks.rows import MSAL, VEND, Goal, Row, Scale, compared
from benchmarks.timing import by_turns, medians
from emulator.cloud import LocalCloud
from emulator.host.keys import generate
from emulator.seed import CLIENT_ID, TENANT_ID
from emulator.tour.app import App
from emulator.tour.site import CALLER, app_settings, write_configuration, write_keys

EMPTY = "empty function"
LEAST = "prepared answer and log line"
MSAL_ON_THE_LOOP = "msal in async def"
USUAL_APP = Path(__file__).parent / "usual_app"
SECONDS = 3


def rows(scale: Scale) -> list[Row]:
    """Count requests for a cached token."""
    with ExitStack() as stack:
        contenders = {
            name: partial(load.requests_a_second, request, seconds=scale.pick(SECONDS, 1))
            for name, request in _requests(stack).items()
        }
        for contender in contenders.values():
            contender()  # the token is got here, and the interpreter has seen its code
        rates = medians(by_turns(contenders, scale))
    return [
        compared(
            {name: rates[name] for name in (VEND, EMPTY, LEAST)},
            row_id="end-to-end",
            what=f"Cached token through the Functions runtime ({load.CONNECTIONS} connections, load by {load.NAME})",
            unit="requests/s",
            against=EMPTY,
            goal=Goal("ratio", ">=", 0.7),
        ),
        compared(
            {name: rates[name] for name in (VEND, MSAL, MSAL_ON_THE_LOOP)},
            row_id="end-to-end-msal",
            what="Cached token through the Functions runtime, "
            "vend beside an endpoint written with MSAL, json.dumps and a log line",
            unit="requests/s",
            against=MSAL,
            goal=Goal("ratio", ">=", 2),
        ),
    ]


def _requests(stack: ExitStack) -> dict[str, load.Request]:
    """Start the cloud and two hosts, one of vend and one of the usual app; give a request for each contender."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    cloud = stack.enter_context(LocalCloud(folder))
    key = generate()
    write_configuration(cloud, folder, {CALLER: key})
    keys = folder / "host.keys.json"
    write_keys(keys, {CALLER: key})
    vend = stack.enter_context(
        App(settings=app_settings(cloud, folder / "vend.toml"), keys=keys, log=folder / "vend.log")
    )
    settings = {
        "AUTHORITY": f"{cloud.authority}/{TENANT_ID}",
        "CA_FILE": str(cloud.ca_file),
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": cloud.directory.add_secret(CLIENT_ID, lifetime=DAY),
    }
    usual = stack.enter_context(App(settings=settings, keys=keys, log=folder / "usual.log", app=USUAL_APP))
    headers = {"x-functions-key": key, "content-type": "application/x-www-form-urlencoded"}
    form = urlencode({"grant_type": "client_credentials", "scope": SCOPE})
    return {
        VEND: load.Request("POST", f"{vend.url}/api/token", headers, form),
        EMPTY: load.Request("POST", f"{usual.url}/api/empty", headers, form),
        LEAST: load.Request("POST", f"{usual.url}/api/least", headers, form),
        MSAL_ON_THE_LOOP: load.Request("POST", f"{usual.url}/api/blocking", headers, form),
        MSAL: load.Request("POST", f"{usual.url}/api/token", headers, form),
    }
