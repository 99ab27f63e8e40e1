"""Asking over HTTP: every exchange ends."""

import httpx
import pytest

from cli.http import AT_ONCE, NoAnswer, Question, send, send_all
from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind

PARTS = ("blob", "management")


def url_of(cloud: LocalCloud, part: str) -> str:
    """Return the address of a part."""
    return {"blob": cloud.blob_url, "management": cloud.management_url}[part]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(kind=Kind.DRIP, bytes_per_second=20), "did not answer within 0.3 s."),
        (Fault(kind=Kind.BLACK_HOLE), "did not answer within 0.3 s."),
        (Fault(kind=Kind.CUT, after_bytes=9), "broke off: "),
        (Fault(kind=Kind.ENDLESS), "answers without an end."),
    ],
    ids=["drip", "black hole", "cut", "endless"],
)
def test_an_answer_is_bounded_in_time_and_size(cloud: LocalCloud, part: str, fault: Fault, says: str) -> None:
    """FND-B6, FND-B7. Headers that drip too: the deadline is that of the whole exchange. A repeat may succeed."""
    seconds = 0.3 if "0.3" in says else 20.0
    cloud.faults[part].set(fault)
    try:
        with pytest.raises(NoAnswer) as failure:
            send(httpx.Request("GET", url_of(cloud, part)), ca_file=str(cloud.ca_file), seconds=seconds)
    finally:
        cloud.faults[part].clear()
    assert (says in str(failure.value), failure.value.may_pass) == (True, True)


def test_requests_are_sent_side_by_side_within_bounds(cloud: LocalCloud) -> None:
    """Several wait together, never more than the bound; answers come in the order of the requests."""
    switch = cloud.faults["management"]
    switch.set(Fault(kind=Kind.HOLD, until=AT_ONCE))
    asked = [httpx.Request("GET", f"{cloud.management_url}/{index}") for index in range(AT_ONCE + 1)]
    try:
        answers = send_all([Question(request) for request in asked], ca_file=str(cloud.ca_file))
    finally:
        switch.clear()
    found = [answer for answer in answers if isinstance(answer, httpx.Response)]
    assert [answer.request.url for answer in found] == [request.url for request in asked]
