import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import httpx
import pytest

from emulator.blob.app import RESOURCE
from emulator.cloud import LocalCloud
from emulator.seed import CONTAINER
from emulator.vault.app import RESOURCE as KEY_VAULT
from shared.adapters.blob import NAME
from shared.core.documents.content import DOCUMENT_BYTES, Content
from shared.core.errors import BadAnswer, OperatorError, UpstreamError
from tests.adapters.blob_services import HOUR, Store


@pytest.fixture
def blob() -> str:
    """The name of a blob that is not there."""
    return uuid.uuid4().hex


def test_a_document_is_read_again_only_if_it_has_changed(store: Store, blob: str) -> None:
    """The ETag of an answer is good for the next question, until the blob is another one."""
    first = store.write(blob, b"generation = 1\n")
    assert store.read("", first, name=blob) == [Content(first, b"generation = 1\n"), None]
    second = store.write(blob, b"generation = 1\n")
    assert second != first
    assert store.read(first, second, name=blob) == [Content(second, b"generation = 1\n"), None]


@pytest.mark.parametrize("size", [0, 1, DOCUMENT_BYTES])
def test_a_document_is_read_whole(store: Store, blob: str, size: int) -> None:
    """An empty one too, and the largest: neither is read in ranges."""
    etag = store.write(blob, b"#" * size)
    assert store.read("", name=blob) == [Content(etag, b"#" * size)]


def test_a_document_that_is_too_large_is_not_read(store: Store, blob: str) -> None:
    """FND-B6: a byte more than a document may have."""
    store.write(blob, b"#" * (DOCUMENT_BYTES + 1))
    with pytest.raises(BadAnswer, match="answer too large"):
        store.read("", name=blob)


@pytest.mark.parametrize(
    ("resource", "life"), [(KEY_VAULT, HOUR), (RESOURCE, -HOUR // 2)], ids=["for another service", "over"]
)
def test_a_token_that_is_no_good_is_the_operators(
    store: Store, cloud: LocalCloud, blob: str, resource: str, life: int
) -> None:
    """The cause names the status of the refusal. Azure answers 401, with a challenge; Azurite 403."""
    store.write(blob, b"")
    with pytest.raises(OperatorError, match=r"HTTP 40[13]"):
        store.read("", name=blob, resource=resource, life=life)
    cloud.misdirected.clear()  # that was on purpose


def test_a_blob_that_is_not_there_is_the_operators(store: Store, blob: str) -> None:
    """404 is told from other failures, with an ETag and without."""
    for etag in ("", '"0x8DE0"'):
        with pytest.raises(UpstreamError) as refused:
            store.read(etag, name=blob)
        assert (type(refused.value), refused.value.cause) == (OperatorError, f"{NAME}: HTTP 404, there is no such blob")


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of an answer, and the code of a refusal, which is the same in the header and in the XML."""
    code = answer.headers.get("x-ms-error-code", "")
    if answer.content and answer.status_code >= 400:
        assert ET.fromstring(answer.content).findtext("Code") == code  # noqa: S314  # of a server of this test
    return answer.status_code, code


ETAG = "(its own)"
type Asked = Mapping[str, str]


@pytest.mark.parametrize(
    ("method", "asked", "expected"),
    [
        ("GET", {}, (200, "")),
        ("HEAD", {}, (200, "")),
        ("GET", {"if_none_match": ETAG}, (304, "ConditionNotMet")),
        ("GET", {"if_none_match": "unquoted " + ETAG}, (304, "ConditionNotMet")),
        ("GET", {"if_none_match": '"0x8DE0"'}, (200, "")),
        ("GET", {"if_none_match": "*"}, (400, "UnsatisfiableCondition")),
        ("GET", {"if_match": '"0x8DE0"'}, (412, "ConditionNotMet")),
        ("GET", {"if_match": ETAG}, (200, "")),
        ("GET", {"x_ms_range": "bytes=0-3"}, (206, "")),
        ("GET", {"x_ms_range": "bytes=12-99"}, (206, "")),
        ("GET", {"x_ms_range": "bytes=90-99"}, (416, "InvalidRange")),
        ("GET", {"x_ms_version": "latest"}, (400, "InvalidHeaderValue")),
        ("GET", {"x_ms_version": "2999-01-01"}, (400, "InvalidHeaderValue")),
        ("PUT", {"if_none_match": "*"}, (409, "BlobAlreadyExists")),
        ("PUT", {"if_match": '"0x8DE0"'}, (412, "ConditionNotMet")),
        ("PUT", {"if_match": ETAG}, (201, "")),
    ],
    ids=str,
)
def test_the_local_service_answers_as_azurite(
    store: Store, blob: str, method: str, asked: Asked, expected: tuple[int, str]
) -> None:
    """Requests that Azurite refuses as Microsoft's reference says; tests/emulator/test_blob.py has the others."""
    etag = store.write(blob, b"generation = 1")
    spelled = {"unquoted " + ETAG: etag.strip('"'), ETAG: etag}
    headers = {name: spelled.get(value, value) for name, value in asked.items()}
    content = b"generation = 2" if method == "PUT" else None
    answer = store.ask(method, f"{CONTAINER}/{blob}", content, **headers)
    assert refusal(answer) == expected
    if answer.is_success:
        assert {"etag", "last-modified", "x-ms-request-id", "x-ms-version"} <= answer.headers.keys()


@pytest.mark.parametrize(
    ("path", "expected"),
    [(f"{CONTAINER}/nobody", (404, "BlobNotFound")), ("elsewhere/nobody", (404, "ContainerNotFound"))],
)
def test_what_is_not_there_is_named_alike(store: Store, path: str, expected: tuple[int, str]) -> None:
    """A blob and a container have codes of their own."""
    assert refusal(store.ask("GET", path)) == expected


def test_a_range_of_an_empty_blob_is_refused_alike(store: Store, blob: str) -> None:
    """The stock clients ask for a range whatever the size, and ask again without one after 416."""
    store.write(blob, b"")
    assert refusal(store.ask("GET", f"{CONTAINER}/{blob}", x_ms_range="bytes=0-3")) == (416, "InvalidRange")
