import ssl
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from emulator.cloud import LocalCloud
from tests.emulator.client import Clock, graph_token

START = 1_800_000_000.0
HOUR = 3_600


def test_every_part_follows_the_clock_that_was_moved(tmp_path: Path) -> None:
    """The control API moves the clock an hour: a token of Entra has expired for Graph, and `Date` has the new time."""
    with LocalCloud(tmp_path, now=Clock(START)) as cloud:
        users, headers = f"{cloud.graph_url}/v1.0/users", {"authorization": f"Bearer {graph_token(cloud)}"}
        with httpx.Client(verify=ssl.create_default_context(cafile=cloud.ca_file)) as http:
            before = http.get(users, headers=headers)
            moved = httpx.post(f"{cloud.control}/clock", json={"advance_seconds": HOUR})
            after = http.get(users, headers=headers)

    assert (moved.json(), cloud.clock()) == ({"now": START + HOUR}, START + HOUR)
    assert (before.status_code, before.headers["date"]) == (200, formatdate(START, usegmt=True))
    assert (after.status_code, after.headers["date"]) == (401, formatdate(START + HOUR, usegmt=True))


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", *(f'{{"advance_seconds": {value}}}' for value in ("-1", "NaN", '"1"', "null", "1e99"))]
)
def test_the_clock_refuses_a_wrong_advance(cloud: LocalCloud, body: str) -> None:
    """It moves neither backward nor beyond the dates that have four digits for a year; the answer names the range."""
    before = cloud.clock()

    answer = httpx.post(f"{cloud.control}/clock", content=body)

    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert cloud.clock() == before
