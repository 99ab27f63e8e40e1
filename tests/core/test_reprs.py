"""Values that hold a secret do not print it: what is printed by mistake is in a log for years."""

import pytest

from cli.http import Secret
from cli.token import Vended as Asked
from shared.api.answers import Answer
from shared.core.directory.checkpoint import Checkpoint
from shared.core.directory.delta import LinkKind, Page
from shared.core.directory.streams import USERS
from shared.core.documents.content import Content
from shared.core.documents.credentials import CertificateFileSettings, SecretSettings
from shared.core.documents.settings import Network
from shared.core.documents.sync import SyncSettings
from shared.core.form import ClientFields
from shared.core.policy import Caller
from shared.core.proofs import Credentials
from shared.core.reply import Reply
from shared.core.request import Incoming
from shared.core.token import AccessToken, Moment
from shared.credentials.credential import Proof

CANARY = "C4N4RY"


@pytest.mark.parametrize(
    "value",
    [
        AccessToken(CANARY, Moment(0, 0), lifetime=3600, refresh_after=1500),
        Answer(200, {}, CANARY.encode()),
        Asked(CANARY, "cache", 3600),
        CertificateFileSettings(path="vend.pfx", password=CANARY),
        Caller(name="billing", key_sha256=(CANARY,)),
        Checkpoint(
            tenant_id="t",
            stream=USERS,
            root="https://graph.example",
            link=f"https://graph.example/{CANARY}",
            page=1,
            fence=1,
            generation=1,
            is_copying=False,
        ),
        ClientFields(b"billing", CANARY.encode(), b""),
        ClientFields(b"billing", b"", CANARY.encode()),
        Content("etag", CANARY.encode()),
        Credentials(CANARY, "billing"),
        Incoming("POST", f"https://host/{CANARY}", {"x-functions-key": CANARY}, CANARY.encode()),
        Network(proxy=f"http://user:{CANARY}@proxy.example"),
        Page((), f"https://graph.example/{CANARY}", LinkKind.NEXT),
        Proof({"client_assertion": CANARY}),
        Reply(200, CANARY.encode()),
        Secret(None, "authorization", CANARY),
        SecretSettings(value=CANARY),
        SyncSettings(profile="directory", store=f"postgresql://user:{CANARY}@host/vend", password=CANARY),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_does_not_print_its_secret(value: object) -> None:
    """FND-H7, SEC-09."""
    assert CANARY not in f"{value!r} {value}"
