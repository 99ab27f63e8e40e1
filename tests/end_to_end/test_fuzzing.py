import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from emulator.seed import VEND
from emulator.tour.site import SUBJECT
from tests.contract import ROOT, event_conforms
from tests.end_to_end.conftest import Resident

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
FOUND = re.compile(r"^  (\d+) generated", re.MULTILINE)


@pytest.mark.parametrize(
    ("per_operation", "at_least"),
    [
        pytest.param(50, 200, marks=pytest.mark.slow, id="some"),
        pytest.param(7_000, 20_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3_600)], id="20,000"),
    ],
)
def test_made_up_requests_get_documented_answers(
    resident: Callable[[Mapping[str, float]], Resident], per_operation: int, at_least: int
) -> None:
    """TST-15: what is valid is served, what is not is refused, nothing else is answered, and Entra notices little.

    In a process of its own: Schemathesis brings a pytest plugin and warnings that nobody else needs.
    """
    app = resident({"claims_per_minute": 100_000})
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ |= {
        "SCHEMATHESIS_HOOKS": "tests.end_to_end.fuzz_hooks",
        "VEND_URL": f"http://127.0.0.1:{app.listen()}",
        "VEND_KEY": app.headers["x-functions-key"],
        "VEND_TOKEN": app.cloud.issuer.token(SUBJECT, audience=VEND, lifetime=86_400),
    }
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(CONFIGURATION),
        "run",
        "docs/openapi.json",
    ]
    command += ["--max-examples", str(per_operation)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (generated,) = FOUND.findall(done.stdout)
    assert int(generated) >= at_least
    told = [event for event in app.events if event["event"] == "token"]
    assert {event["status"] for event in told} >= {200, 400, 401, 405, 415}
    assert [fault for event in told for fault in event_conforms(json.dumps(event))] == []
    assert len(app.cloud.entra.requests) < at_least / 20  # what was not allowed was not asked for
