"""What the blob service may answer to the read of a document, and what is sent to it."""

import asyncio
from collections.abc import Mapping

import pytest

from shared.adapters.blob import VERSION, BlobSource
from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.reply import Reply
from shared.core.token import AccessToken, Moment

URL = "https://vendstore.blob.core.windows.net/configuration/callers.toml"
TOKEN, NEWER = (
    AccessToken(secret, Moment(0, 0), lifetime=3_600, refresh_after=1_800) for secret in ("a-token", "a-newer-token")
)


class Blob:
    """A blob whose answers a test sets, the last one from then on; it notes what it was asked with."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = [*replies]
        self.sent: Mapping[str, str] = {}
        self.rejected: list[str | None] = []
        self.source = BlobSource(URL, get_token=self._token, get=self._get)

    def read(self, etag: str = "") -> Content | None:
        """Read the document."""
        return asyncio.run(self.source.read(etag))

    async def _token(self, rejected: str | None) -> AccessToken:
        self.rejected.append(rejected)
        return TOKEN if rejected is None else NEWER

    async def _get(self, url: str, *, headers: Mapping[str, str], body_bytes: int) -> Reply:
        assert (url, body_bytes) == (URL, DOCUMENT_BYTES)
        self.sent = headers
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


@pytest.mark.parametrize("etag", ["", '"0x1"'])
def test_a_document_is_asked_for_by_its_last_version(etag: str) -> None:
    """The first read names none; an answer with a document brings its version."""
    blob = Blob(Reply(200, b"text", {"etag": '"0x2"'}))
    assert blob.read(etag) == Content('"0x2"', b"text")
    assert blob.sent == {
        "authorization": "Bearer a-token",
        "x-ms-version": VERSION,
        "accept": "*/*",
        **({"if-none-match": etag} if etag else {}),
    }
    assert blob.source.name == "callers.toml"


def test_an_unchanged_document_is_not_read_again() -> None:
    """304 answers a question about a version."""
    assert Blob(Reply(304, b"")).read('"0x1"') is None


@pytest.mark.parametrize(
    ("reply", "error", "cause"),
    [
        (Reply(304, b""), Unavailable, "Azure Storage: HTTP 304"),
        (Reply(200, b"CANARY"), BadAnswer, "Azure Storage: the answer is no blob's, it has no usable ETag"),
        (Reply(200, b"", {"etag": "\xe9"}), BadAnswer, "Azure Storage: the answer is no blob's, it has no usable ETag"),
        (
            Reply(200, b"", {"etag": "x" * 257}),
            BadAnswer,
            "Azure Storage: the answer is no blob's, it has no usable ETag",
        ),
        (Reply(206, b"CANARY", {"etag": "x"}), Unavailable, "Azure Storage: HTTP 206"),
        (Reply(302, b"CANARY", {"etag": "x"}), Unavailable, "Azure Storage: HTTP 302"),
        (Reply(503, b"CANARY"), Unavailable, "Azure Storage: HTTP 503"),
        (Reply(401, b"CANARY"), OperatorError, "Azure Storage: HTTP 401, the app's token is not accepted"),
        (
            Reply(403, b"CANARY"),
            OperatorError,
            "Azure Storage: HTTP 403, the app needs Storage Blob Data Reader, and a way through the firewall",
        ),
        (Reply(404, b"CANARY"), OperatorError, "Azure Storage: HTTP 404, there is no such blob"),
    ],
    ids=[
        "unasked 304",
        "no ETag",
        "an ETag beyond ASCII",
        "a long ETag",
        "a part",
        "redirect",
        "503",
        "401",
        "403",
        "404",
    ],
)
def test_anything_else_is_no_document(reply: Reply, error: type[UpstreamError], cause: str) -> None:
    """REL-51: the last good document stays, and the cause says what to do; only a 401 disproves the token."""
    blob = Blob(reply)
    for _ in range(2):
        with pytest.raises(error) as caught:
            blob.read()
        assert caught.value.cause == cause
    assert blob.rejected == [None, TOKEN.sha256, None, TOKEN.sha256] if reply.status == 401 else [None, None]


def test_a_token_that_is_rejected_is_replaced_in_the_same_read() -> None:
    """REL-42: a worker without a document would else refuse every caller until its next check."""
    blob = Blob(Reply(401, b""), Reply(200, b"text", {"etag": '"0x2"'}))
    assert blob.read() == Content('"0x2"', b"text")
    assert blob.sent["authorization"] == "Bearer a-newer-token"
