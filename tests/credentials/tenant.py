"""A tenant whose Entra and Graph have one app registration, and the vault that has its certificate."""

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import jwt

from shared.core.entra.clouds import CLOUDS
from shared.core.entra.key_proof import AUDIENCES, add_key_address
from shared.core.errors import Unavailable, UpstreamError
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.credentials.chain import Chain
from shared.credentials.rotation import AppRegistration, Rotation
from shared.credentials.vault_certificate import vault_certificate
from shared.credentials.vault_signer import VaultSigner
from shared.tokens.acquire import Client, Entra
from shared.tokens.cache import TokenCache
from shared.tokens.endpoint import TokenEndpoint
from tests.credentials.bench import CLIENT, HOUR, KEY, TENANT, FakeVault
from tests.credentials.registration import TOKEN, Registration

OBJECT = "0b1ec700-1111-1111-1111-111111111111"
CLOUD = CLOUDS["public"]
DAY = 24 * HOUR
ROTATION = AppRegistration(profile=KEY.profile, client_id=CLIENT, object_id=OBJECT, tenant_id=TENANT, cloud=CLOUD)


class Killed(BaseException):
    """The process of a run ends here."""


class Tenant(Registration):
    """A registration that grows: Entra accepts a version from a moment on, and Graph registers more of them.

    Attributes that a test may set at any time:
        known: the versions that are registered, with the moment from which Entra accepts each.
        propagation: seconds from the registration of a version to that moment.
        refusals: the answers of Entra to a version in place of its own decision, the last of them for ever.
        away: what Entra fails with.
        graph: the next answers of addKey: a status and a code, "lost" or "refused connection"; after them "200".
        takes_duplicates: whether a version that is registered is registered again, or refused.
        kill_at: the number of the step of a run at which its process ends; each call is a step before and after it.
    """

    def __init__(self, *, ages: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.vault.versions = {
            version: self.vault.version(days=-hours / 24) for version, hours in (ages or {"v1": 90 * 24}).items()
        }
        self.known = {"v1": 0.0}
        self.propagation = 0.0
        self.refusals: dict[str, list[str]] = {}
        self.away: UpstreamError | None = None
        self.graph: list[str] = []
        self.takes_duplicates = True
        self.audiences: tuple[str, ...] = AUDIENCES
        self.tries: Counter[str] = Counter()
        self.graph_calls = 0
        self.kill_at: int | None = None
        self._steps = 0

    def renew(self, *, life: float) -> str:
        """Make a new version, as the policy of a certificate does; `life` is in days."""
        version = f"v{len(self.vault.versions) + 1}"
        self.vault.versions[version] = self.vault.version(life=life)
        return version

    def worker(self) -> TokenCache:
        """Start a worker that vends: it knows nothing."""
        chain = Chain([self._certificate(self.vault)], limits=Limits(), system=self.system)
        entra = Entra(
            cloud=CLOUD,
            clients={KEY.profile: Client(client_id=CLIENT, credential=chain)},
            post=self._post,
            limits=Limits(),
            system=self.system,
            events=self.events,
        )
        self.chain = chain
        return TokenCache(entra.acquire, version=entra.version, limits=Limits(), system=self.system, events=self.events)

    def rotation(self) -> Rotation:
        """Start an instance that rotates: it knows nothing."""
        endpoint = TokenEndpoint(
            cloud=CLOUD, post=self._stepping_post, limits=Limits(), system=self.system, events=self.events
        )
        return Rotation(
            ROTATION,
            certificates=[self._certificate(_SteppingVault(self))],
            ask=endpoint.ask,
            send=self._add_key,
            limits=Limits(),
            system=self.system,
            events=self.events,
        )

    async def run(self, *, kill_at: int | None = None) -> bool:
        """Let a new instance run once, and return whether it was killed."""
        self.kill_at, self._steps = kill_at, 0
        try:
            await self.rotation().run()
        except Killed:
            return True
        finally:
            self.kill_at = None
        return False

    def step(self) -> None:
        """Count a step of a run, and end its process at the chosen one."""
        if self._steps == self.kill_at:
            raise Killed
        self._steps += 1

    def _certificate(self, vault: FakeVault) -> Any:  # noqa: ANN401  # a VaultVersions of CertificateLinks
        return vault_certificate(
            vault,
            name="vend",
            signer=lambda version: VaultSigner(vault, name="vend", version=version),
            client_id=CLIENT,
            limits=Limits(),
            system=self.system,
        )

    async def _stepping_post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        self.step()
        reply = await self._post(url, form, headers=headers)
        self.step()
        return reply

    async def _post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:
        if self.away:
            raise self.away
        assert url == CLOUD.token_endpoint(TENANT)
        assert parse_qs(form.decode())["scope"] == [KEY.scope]
        self.register(*(version for version, moment in self.known.items() if moment <= self.clock.wall()))
        self.answers |= self.refusals
        return await super()._post(url, form, headers=headers)

    async def _add_key(self, method: str, url: str, *, headers: Mapping[str, str], content: bytes) -> Reply:
        self.step()
        self.graph_calls += 1
        await asyncio.sleep(0)  # another instance asks meanwhile
        assert (method, url) == ("POST", add_key_address(CLOUD.graph, OBJECT))
        assert headers["authorization"] == f"Bearer {json.loads(TOKEN)['access_token']}"
        body = json.loads(content)
        self._check_proof(body["proof"])
        version = base64.b64decode(body["keyCredential"]["key"]).decode()
        self.tries[version] += 1
        answer = self.graph.pop(0) if self.graph else "200"
        if answer == "refused connection":
            raise Unavailable(cause="Graph: no connection")
        if answer in {"200", "lost"} and version in self.known and not self.takes_duplicates:
            answer = "400 Request_BadRequest"
        if answer in {"200", "lost"}:
            self.known.setdefault(version, self.clock.wall() + self.propagation)
        if answer == "lost":
            raise Unavailable(cause="Graph: broken connection")
        self.step()
        status, _, code = answer.partition(" ")
        error = json.dumps({"error": {"code": code, "message": "a text of Graph's"}}).encode()
        return Reply(int(status), b"{}" if status == "200" else error)

    def _check_proof(self, proof: str) -> None:
        """Check what the local Graph checks of a proof, but for the signature: nothing here has a key."""
        header = jwt.get_unverified_header(proof)
        claims = jwt.decode(proof, options={"verify_signature": False})
        signer = next(
            version
            for version in self.known
            if header["x5t"] == base64.urlsafe_b64encode(_sha1(version)).decode().rstrip("=")
        )
        assert self.known[signer] <= self.clock.wall()
        assert self.vault.versions[signer].is_usable(datetime.fromtimestamp(self.clock.wall(), UTC))
        assert claims["iss"] == OBJECT
        assert claims["nbf"] <= self.clock.wall() - self.ahead < claims["exp"]


class _SteppingVault(FakeVault):
    """The vault of a tenant, as a run asks it: each call is a step."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(tenant.clock)
        self._tenant = tenant
        self.versions = tenant.vault.versions
        self.unreadable = tenant.vault.unreadable
        self.is_hung = tenant.vault.is_hung

    async def _answer(self, error: Exception | None) -> None:
        self._tenant.step()
        await super()._answer(error)


def _sha1(version: str) -> bytes:
    return hashlib.sha1(version.encode(), usedforsecurity=False).digest()
