"""Leases and blocks: the local Blob Storage answers as Azurite, request by request."""

import base64
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import httpx
import pytest

from emulator.seed import CONTAINER
from tests.adapters.blob_services import Store

OURS, OTHERS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class Blob:
    """A blob, and the requests that change it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = f"{CONTAINER}/{uuid.uuid4().hex}"
        self.etag = ""

    def write(self, **headers: str) -> httpx.Response:
        """Replace the blob."""
        answer = self._store.ask("PUT", self._path, b"generation = 1", **headers)
        self.etag = answer.headers.get("etag", self.etag)
        return answer

    def lease(self, action: str, **headers: str) -> httpx.Response:
        """Take, renew, free or break the lease."""
        return self._store.ask("PUT", f"{self._path}?comp=lease", b"", x_ms_lease_action=action, **headers)

    def acquire(self, lease_id: str, duration: str = "60") -> httpx.Response:
        """Take the lease."""
        return self.lease("acquire", x_ms_lease_duration=duration, x_ms_proposed_lease_id=lease_id)

    def block(self, name: str, content: bytes = b"x", **headers: str) -> httpx.Response:
        """Put a block."""
        block_id = base64.b64encode(name.encode()).decode()
        return self._store.ask("PUT", f"{self._path}?comp=block&blockid={block_id}", content, **headers)

    def commit(self, names: Iterable[str], **headers: str) -> httpx.Response:
        """Put a list of blocks."""
        ids = (base64.b64encode(name.encode()).decode() for name in names)
        listed = "".join(f"<Uncommitted>{block_id}</Uncommitted>" for block_id in ids)
        text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        return self._store.ask("PUT", f"{self._path}?comp=blocklist", text.encode(), **headers)

    def read(self, method: str = "GET") -> httpx.Response:
        """Read the blob."""
        return self._store.ask(method, self._path)


@pytest.fixture
def blob(store: Store) -> Blob:
    """A blob that is not there."""
    return Blob(store)


def told(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of an answer, and the code of a refusal."""
    code = answer.headers.get("x-ms-error-code", "")
    if answer.content and answer.status_code >= 400:
        assert ET.fromstring(answer.content).findtext("Code") == code  # noqa: S314  # of a server of this test
    return answer.status_code, code


def test_a_lease_keeps_other_writers_out(blob: Blob) -> None:
    """Its holder takes it again, renews it and writes; nobody else does any of that before it is free."""
    blob.write()
    first = blob.acquire(OURS)
    assert (told(first), first.headers["x-ms-lease-id"]) == ((201, ""), OURS)
    assert told(blob.acquire(OURS)) == (201, "")
    assert told(blob.acquire(OTHERS)) == (409, "LeaseAlreadyPresent")
    assert told(blob.lease("renew", x_ms_lease_id=OURS)) == (200, "")
    for action in ("renew", "release"):
        assert told(blob.lease(action, x_ms_lease_id=OTHERS)) == (409, "LeaseIdMismatchWithLeaseOperation")
    for write in (blob.write, lambda **headers: blob.block("a", **headers)):
        assert told(write()) == (412, "LeaseIdMissing")
        assert told(write(x_ms_lease_id=OTHERS)) == (412, "LeaseIdMismatchWithBlobOperation")
        assert told(write(x_ms_lease_id=OURS)) == (201, "")
    assert told(blob.acquire(OTHERS)) == (409, "LeaseAlreadyPresent")  # the write has not freed it
    assert told(blob.lease("release", x_ms_lease_id=OURS)) == (200, "")
    assert told(blob.write(x_ms_lease_id=OURS)) == (412, "LeaseNotPresentWithBlobOperation")
    assert told(blob.lease("renew", x_ms_lease_id=OURS)) == (409, "LeaseIdMismatchWithLeaseOperation")
    assert told(blob.acquire(OTHERS)) == (201, "")


def test_a_broken_lease_is_over(blob: Blob) -> None:
    """Who broke it need not know its id; its holder cannot renew it, and another one takes it."""
    blob.write()
    assert told(blob.lease("break")) == (409, "LeaseNotPresentWithLeaseOperation")
    blob.acquire(OURS, "-1")
    broken = blob.lease("break", x_ms_lease_break_period="0")
    assert (told(broken), broken.headers["x-ms-lease-time"]) == ((202, ""), "0")
    assert told(blob.lease("renew", x_ms_lease_id=OURS)) == (409, "LeaseIsBrokenAndCannotBeRenewed")
    assert told(blob.acquire(OTHERS)) == (201, "")
    blob.lease("break", x_ms_lease_break_period="30")
    assert told(blob.acquire(OTHERS)) == (409, "LeaseIsBreakingAndCannotBeAcquired")
    assert told(blob.acquire(OURS)) == (409, "LeaseAlreadyPresent")


@pytest.mark.parametrize("duration", ["14", "61", "0", "-2"])
def test_a_lease_is_for_some_seconds_or_for_ever(blob: Blob, duration: str) -> None:
    """15 to 60 seconds, or -1."""
    blob.write()
    assert told(blob.acquire(OURS, duration)) == (400, "InvalidHeaderValue")


def test_what_is_not_there_has_no_lease(blob: Blob) -> None:
    """So the first writer has none."""
    assert told(blob.acquire(OURS)) == (404, "BlobNotFound")


def test_blocks_are_a_blob_when_they_are_listed(blob: Blob) -> None:
    """In the order of the list, with its metadata; until then nobody reads any of them."""
    blob.block("a", b"1")
    blob.block("b", b"2")
    assert told(blob.read()) == (404, "BlobNotFound")
    made = blob.commit("ba", x_ms_meta_run="a-run", if_none_match="*")
    assert told(made) == (201, "")
    found = blob.read()
    assert (found.content, found.headers["etag"], found.headers["x-ms-meta-run"]) == (
        b"21",
        made.headers["etag"],
        "a-run",
    )
    seen = blob.read("HEAD")
    assert (seen.headers["etag"], seen.headers["x-ms-meta-run"]) == (made.headers["etag"], "a-run")


def test_a_list_replaces_what_its_writer_has_seen(blob: Blob) -> None:
    """Of two lists one is refused, and its blocks are gone: the other list took them away."""
    blob.block("a", b"1")
    blob.block("b", b"2")
    etag = blob.commit("a", if_none_match="*").headers["etag"]
    assert told(blob.commit("b", if_match=etag)) == (400, "InvalidBlockList")
    blob.block("c", b"3")
    assert told(blob.commit("c", if_none_match="*")) == (409, "BlobAlreadyExists")
    assert told(blob.commit("c", if_match='"0x8DE0"')) == (412, "ConditionNotMet")
    assert told(blob.commit("c", if_match=etag)) == (201, "")
    assert blob.read().content == b"3"


def test_an_unreadable_block_is_refused(store: Store, blob: Blob) -> None:
    """An id that is not Base64, or none."""
    path = f"{CONTAINER}/{uuid.uuid4().hex}?comp=block"
    assert told(store.ask("PUT", f"{path}&blockid=%2A", b"x")) == (400, "InvalidQueryParameterValue")
    blob.block("a")
    assert told(blob.block("longer")) == (400, "InvalidBlobOrBlock")
