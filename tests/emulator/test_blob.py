import gc
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobClient

from emulator.blob.app import RESOURCE
from emulator.cloud import LocalCloud
from emulator.seed import CONTAINER, DIRECTORY_CONTAINER, IDENTITY_CLIENT_ID, TENANT_ID
from emulator.vault.app import RESOURCE as KEY_VAULT
from tests.emulator.client import Clock, new_principal, signed_token

READER, CONTRIBUTOR = "Storage Blob Data Reader", "Storage Blob Data Contributor"
VERSION = "2023-11-03"
NAME = "callers.toml"

type Ask = Callable[..., httpx.Response]


def token(cloud: LocalCloud, *roles: str, resource: str = RESOURCE) -> str:
    """Have a token signed for somebody who holds exactly these roles on the account."""
    who = new_principal(cloud)
    for role in roles:
        cloud.blob.assign(who.object_id, role)
    return signed_token(cloud, who, resource=resource)


@pytest.fixture
def ask(cloud: LocalCloud, http: httpx.Client) -> Iterator[Ask]:
    """Ask for one blob; what is there before and after is nothing."""

    def ask(
        method: str = "GET", *, roles: tuple[str, ...] = (CONTRIBUTOR,), path: str = "", **headers: str
    ) -> httpx.Response:
        given = {"authorization": f"Bearer {token(cloud, *roles)}", "x-ms-version": VERSION}
        if method == "PUT":
            given["x-ms-blob-type"] = "BlockBlob"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value}
        content = b"generation = 2" if method == "PUT" else None
        return http.request(method, f"{cloud.blob_url}/{path or f'{CONTAINER}/{NAME}'}", headers=sent, content=content)

    cloud.blob.remove(CONTAINER, NAME)
    yield ask
    cloud.blob.remove(CONTAINER, NAME)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Read a refusal, whose code stands in a header and in the XML."""
    code = ET.fromstring(answer.content).findtext("Code") or ""  # noqa: S314  # our own
    assert answer.headers["x-ms-error-code"] == code
    return answer.status_code, code


def test_a_blob_is_read_again_only_if_it_has_changed(cloud: LocalCloud, ask: Ask) -> None:
    """The ETag of an answer makes the next one 304 without a body, until the blob is another one."""
    cloud.blob.write(CONTAINER, NAME, b"generation = 1")
    first = ask(roles=(READER,))
    again = ask(roles=(READER,), if_none_match=first.headers["etag"])
    cloud.blob.write(CONTAINER, NAME, b"generation = 1")
    other = ask(roles=(READER,), if_none_match=first.headers["etag"])
    assert (first.status_code, first.content) == (200, b"generation = 1")
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert other.status_code == 200
    assert [seen.status for seen in cloud.blob.requests[-3:]] == [200, 304, 200]


def test_a_range_begins_within_the_blob(cloud: LocalCloud, ask: Ask) -> None:
    """A range from the end on is refused (RFC 9110 section 15.5.17); Azurite takes one at the very end."""
    cloud.blob.write(CONTAINER, NAME, b"generation = 1")
    assert ask(x_ms_range="bytes=13-20").content == b"1"
    assert refusal(ask(x_ms_range="bytes=14-20")) == (416, "InvalidRange")


def test_of_two_writers_one_is_told(cloud: LocalCloud, ask: Ask) -> None:
    """A write on condition replaces what its writer has seen, or nothing: 412, and 409 for what must not be there."""
    assert refusal(ask("PUT", if_match='"0x1"')) == (412, "ConditionNotMet")
    made = ask("PUT", if_none_match="*")
    assert (made.status_code, cloud.blob.read(CONTAINER, NAME)) == (201, b"generation = 2")
    assert refusal(ask("PUT", if_none_match="*")) == (409, "BlobAlreadyExists")
    assert ask("PUT", if_match=made.headers["etag"]).status_code == 201
    assert refusal(ask("PUT", if_match=made.headers["etag"])) == (412, "ConditionNotMet")
    assert refusal(ask("GET", if_match=made.headers["etag"])) == (412, "ConditionNotMet")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"authorization": ""}, (401, "NoAuthenticationInformation")),
        ({"authorization": "Bearer x"}, (401, "InvalidAuthenticationInfo")),
        ({"authorization": "SharedKey vend:c2ln"}, (403, "KeyBasedAuthenticationNotPermitted")),
        ({"x_ms_version": ""}, (403, "AuthenticationFailed")),
        ({"x_ms_version": "2017-07-29"}, (403, "AuthenticationFailed")),
        ({"x_ms_version": "latest"}, (400, "InvalidHeaderValue")),
        ({"roles": ()}, (403, "AuthorizationPermissionMismatch")),
        ({"roles": (READER,), "method": "PUT"}, (403, "AuthorizationPermissionMismatch")),
        ({"path": "elsewhere/callers.toml"}, (404, "ContainerNotFound")),
        ({}, (404, "BlobNotFound")),
        ({"method": "PUT", "x_ms_blob_type": ""}, (400, "MissingRequiredHeader")),
        ({"method": "PUT", "x_ms_blob_type": "PageBlob"}, (400, "InvalidHeaderValue")),
    ],
    ids=str,
)
def test_what_azure_refuses_is_refused(ask: Ask, asked: dict[str, Any], expected: tuple[int, str]) -> None:
    """A code in a header and in XML; without a good token, where to get one."""
    answer = ask(**asked)
    assert refusal(answer) == expected
    challenged = answer.headers.get("www-authenticate", "")
    assert (f"resource_id={RESOURCE}" in challenged and TENANT_ID in challenged) is (expected[0] == 401)


def test_a_token_for_another_service_is_no_good(cloud: LocalCloud, ask: Ask) -> None:
    """One for Key Vault, of somebody who holds every role here, is refused as if it were none."""
    elsewhere = token(cloud, CONTRIBUTOR, resource=KEY_VAULT)
    assert refusal(ask(authorization=f"Bearer {elsewhere}")) == (401, "InvalidAuthenticationInfo")


def test_the_stock_client_works_as_the_app_s_identity(
    cloud: LocalCloud, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-storage-blob reads what is there; it may write once the identity is given that, and only on condition."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)
    etag = ask("PUT").headers["etag"]
    options: dict[str, Any] = {"connection_verify": str(cloud.ca_file), "use_env_settings": False, "retry_total": 0}
    with (
        ManagedIdentityCredential(client_id=IDENTITY_CLIENT_ID, use_env_settings=False) as identity,
        BlobClient(cloud.blob_url, CONTAINER, NAME, credential=identity, **options) as blob,
    ):
        assert blob.download_blob().readall() == b"generation = 2"
        with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
            blob.upload_blob(b"x", overwrite=True)
        (principal,) = cloud.directory.identities()
        cloud.blob.assign(principal.principal_id, CONTRIBUTOR)
        try:
            blob.upload_blob(b"x", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
            with pytest.raises(ResourceModifiedError):
                blob.upload_blob(b"y", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
        finally:
            cloud.blob.unassign(principal.principal_id, CONTRIBUTOR)
    assert cloud.blob.read(CONTAINER, NAME) == b"x"
    gc.collect()  # an SDK client that raised holds its connection until then


def test_a_lease_that_has_expired_is_renewed_until_somebody_writes(cloud: LocalCloud, clock: Clock, ask: Ask) -> None:
    """By the clock of the cloud. The id of an expired lease writes nothing; whoever has none may write."""
    ours = str(uuid.uuid4())
    cloud.blob.write(CONTAINER, NAME, b"generation = 1")

    def lease(action: str, **headers: str) -> httpx.Response:
        path = f"{CONTAINER}/{NAME}?comp=lease"
        return ask("PUT", path=path, x_ms_lease_action=action, **headers)

    assert lease("acquire", x_ms_lease_duration="60", x_ms_proposed_lease_id=ours).status_code == 201
    clock.moment += 60
    assert refusal(ask("PUT", x_ms_lease_id=ours)) == (412, "LeaseLost")
    assert lease("renew", x_ms_lease_id=ours).status_code == 200
    assert refusal(ask("PUT")) == (412, "LeaseIdMissing")
    clock.moment += 60
    assert ask("PUT").status_code == 201
    assert refusal(lease("renew", x_ms_lease_id=ours)) == (409, "LeaseIdMismatchWithLeaseOperation")


def test_a_role_may_be_of_one_container(cloud: LocalCloud, http: httpx.Client) -> None:
    """The app's identity writes the directory, and reads who may have what; it writes nothing else."""
    who = new_principal(cloud)
    cloud.blob.assign(who.object_id, CONTRIBUTOR, container=DIRECTORY_CONTAINER)
    headers = {"authorization": f"Bearer {signed_token(cloud, who, resource=RESOURCE)}", "x-ms-version": VERSION}
    headers["x-ms-blob-type"] = "BlockBlob"
    answers = {
        container: http.put(f"{cloud.blob_url}/{container}/x", headers=headers, content=b"x")
        for container in (CONTAINER, DIRECTORY_CONTAINER)
    }
    assert refusal(answers[CONTAINER]) == (403, "AuthorizationPermissionMismatch")
    assert answers[DIRECTORY_CONTAINER].status_code == 201


def test_an_answer_can_be_lost(cloud: LocalCloud, ask: Ask) -> None:
    """The write is done, and the service says that it does not know; the next one is answered as ever."""
    cloud.blob.lose_answers(1)
    assert refusal(ask("PUT")) == (500, "OperationTimedOut")
    assert ask().content == b"generation = 2"
    assert ask("PUT").status_code == 201
