"""An app registration that knows some certificates of a vault, and what asks it for tokens."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import parse_qs

import jwt

from shared.core.entra.clouds import CLOUDS
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import AccessToken, Wanted
from shared.credentials.chain import Chain
from shared.credentials.credential import Credential
from shared.tokens.acquire import Client, Entra
from tests.credentials.bench import CLIENT, HOUR, KEY, Bench

TOKEN = b'{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}'
WEEK = 7


class Registration(Bench):
    """Entra with one app registration, whose answers depend on the version that signed the assertion.

    Args:
        versions: how many versions the certificate in the vault has, each a week older than the next.
        credentials: of the profile; by default the certificate alone.
    """

    def __init__(self, *, versions: int = 1, credentials: Sequence[Credential] = ()) -> None:
        super().__init__()
        self.vault.versions = {
            f"v{number}": self.vault.version(days=WEEK * (number - versions - 1)) for number in range(1, versions + 1)
        }
        if credentials:
            self.chain = Chain(credentials, limits=Limits(), system=self.system)
        self.answers: dict[str, list[str]] = {"others": ["ok"]}
        self.ahead = 0.0
        self.retry_after = ""
        self.asked: list[str] = []
        self.sent: list[Mapping[str, str]] = []
        self._entra = Entra(
            cloud=CLOUDS["public"],
            clients={KEY.profile: Client(client_id=CLIENT, credential=self.chain)},
            post=self._post,
            limits=Limits(),
            system=self.system,
            events=self.events,
        )

    @property
    def resting(self) -> list[str]:
        """List the versions that rest."""
        resting = (link.id for link in self.chain.refused if self.chain.is_resting(link.id))
        return sorted(link.rpartition("/")[2] for link in resting)

    def register(self, *versions: str) -> None:
        """Accept these versions alone."""
        self.answers = {version: ["ok"] for version in versions} | {"others": ["700027"]}

    async def acquire(self, *, in_background: bool = False) -> AccessToken:
        """Acquire a token as one flight does."""
        return (await self._entra.acquire(Wanted(KEY, in_background=in_background, flight_id="id-7"))).token

    def version(self) -> str:
        """Return the name of the set of usable links."""
        return self._entra.version(KEY)

    async def _post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:  # noqa: ARG002
        await asyncio.sleep(0)  # the other flights ask meanwhile
        sent = {name: values[0] for name, values in parse_qs(form.decode()).items()}
        self.sent.append(sent)
        self.asked.append(self._name(sent))
        answers = self.answers.get(self.asked[-1]) or self.answers["others"]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "hang":
            await asyncio.sleep(HOUR)
        date = {"date": formatdate(self.clock.wall() - self.ahead, usegmt=True)}
        if answer == "ok":
            return Reply(200, TOKEN, date)
        number, _, error = answer.partition(" ")
        if not number.isdigit():
            return Reply(401, json.dumps({"error": answer}).encode(), date)
        body = {"error": error or "invalid_client", "error_description": f"AADSTS{number}: text"}
        wait = {"retry-after": self.retry_after} if self.retry_after else {}
        return Reply(400 if error else 401, json.dumps(body).encode(), date | wait)

    def _name(self, sent: Mapping[str, str]) -> str:
        """Name what proved the client: the version of the certificate, or the secret or foreign assertion itself."""
        if "client_secret" in sent:
            return sent["client_secret"]
        try:
            header = jwt.get_unverified_header(sent["client_assertion"])
        except jwt.DecodeError:
            return sent["client_assertion"]
        return str(header.get("x5t#S256"))
