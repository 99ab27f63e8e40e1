import json

import pytest

from shared.core.directory.refusal import LinkState, Refusal, read_refusal
from shared.core.reply import Reply

REQUEST = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
FORGOTTEN, DOUBTED, UNKNOWN = LinkState.FORGOTTEN, LinkState.DOUBTED, LinkState.UNKNOWN


@pytest.mark.parametrize(
    ("status", "error", "link"),
    [
        (410, None, FORGOTTEN),
        (400, {"code": "syncStateNotFound"}, FORGOTTEN),
        (400, {"code": "SyncStateNotFound"}, FORGOTTEN),
        (400, {"code": "Directory_ExpiredPageToken"}, FORGOTTEN),
        (404, {"code": "x", "innerError": {"code": "y", "innererror": {"code": "resyncRequired"}}}, FORGOTTEN),
        (400, {"code": "Request_BadRequest"}, DOUBTED),
        (404, {"code": "UnknownError"}, DOUBTED),
        (400, {"code": None}, DOUBTED),
        (400, {"code": ""}, DOUBTED),
        (401, {"code": "InvalidAuthenticationToken"}, UNKNOWN),
        (403, {"code": "Authorization_RequestDenied"}, UNKNOWN),
        (408, {"code": "timeout"}, UNKNOWN),
        (429, {"code": "TooManyRequests"}, UNKNOWN),
        (500, {"code": "syncStateNotFound"}, UNKNOWN),
        (400, "syncStateNotFound", UNKNOWN),
        (407, None, UNKNOWN),
        (404, None, UNKNOWN),
    ],
)
def test_what_a_refusal_says_about_the_link(status: int, error: object, link: LinkState) -> None:
    """REL-40, DIR-02: 410, or a code at any depth and in any case; every other refusal in Graph's form is a doubt."""
    body = b"<html>" if error is None else json.dumps({"error": error}).encode()
    assert read_refusal(Reply(status, body)).link is link


@pytest.mark.parametrize(
    ("error", "code", "request_id"),
    [
        ({"code": "UnknownError", "innerError": {"request-id": REQUEST}}, "UnknownError", REQUEST),
        ({"code": "", "innererror": {"code": "Inner_Code", "request-id": REQUEST}}, "Inner_Code", REQUEST),
        ({"code": "C4N4RY and more text", "innerError": {"request-id": "C4N4RY"}}, "", None),
        ({"code": "x" * 65, "request-id": 7}, "", None),
    ],
    ids=["both", "inside", "free text", "too long"],
)
def test_a_refusal_has_names_and_no_text(error: object, code: str, request_id: str | None) -> None:
    """DIR-08: the code and the id of the request are what support asks for; whatever else came is dropped."""
    found = read_refusal(Reply(404, json.dumps({"error": error}).encode()))
    assert (found.code, found.request_id) == (code, request_id)
    assert isinstance(found, Refusal)
