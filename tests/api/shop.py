"""A vendor whose tokens a test makes, and good requests to it; its callers are the app's own."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from shared.api.answers import Answer
from shared.api.routes import ENTRA, FUNCTION_KEY, MANAGED_IDENTITY, OAUTH, Route
from shared.api.vendor import Vendor
from shared.callers.issuer_keys import IssuerKeys
from shared.callers.live import Callers
from shared.callers.recognition import Recognition
from shared.core.documents.content import Content
from shared.core.documents.issuers import IssuerSettings
from shared.core.limits import Limits
from shared.core.policy import Deployment, Offer
from shared.core.request import ASSERTION_TYPE, Incoming
from shared.core.token import AccessToken, Acquired, TokenKey, TokenSource
from shared.core.verification_keys import KeySet
from shared.telemetry.events import Events
from tests.clock import FakeClock, fake_system
from tests.contract import conforms, event_conforms
from tests.signer import identity_toml, issuers, token_of

TENANT, OTHER_TENANT = "11111111-1111-1111-1111-111111111111", "33333333-3333-3333-3333-333333333333"
CLIENT_ID = "22222222-2222-2222-2222-222222222222"
SCOPE = "https://graph.microsoft.com/.default"
OTHER_SCOPE = "https://graph.microsoft.com/reports/.default"
KEY, ANYBODYS, OTHERS = "k" * 40, "a" * 40, "o" * 40
FORM = b"grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
MEDIA = "application/x-www-form-urlencoded"
OFFERS = {
    "graph": Offer(tenants=(TENANT, OTHER_TENANT), scopes=(SCOPE, OTHER_SCOPE), client_id=CLIENT_ID, vendable=True)
}
ALLOW = f'allow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]'
EVERYBODY = f'[callers."*"]\n{ALLOW}\n'
ISSUERS = issuers()


def entry(name: str, *lines: str, key: str) -> str:
    """Write a caller into the document; it has an identity, too, whose subject is its name."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return "\n".join([f"[callers.{name}]", f'key_sha256 = ["{digest}"]', identity_toml(name), *lines, ""])


BILLING = entry("billing", ALLOW, key=KEY)


class Shop:
    """A vendor with a document of callers and a token source that does as told; what leaves it is listed in order.

    Attributes:
        lines: of the log.
        reads: how often the document was read.
        keys: of the tokens that were asked for.
    """

    name = "callers.toml"

    def __init__(
        self,
        get_token: Callable[["Shop"], AccessToken | Awaitable[AccessToken]],
        *,
        log: Callable[[str], None] | None = None,
        app_checked_routes: bool = True,
        fetch: Callable[[IssuerSettings], Coroutine[Any, Any, KeySet]] | None = None,
        document: str = BILLING,
    ) -> None:
        self.lines: list[str] = []
        self.reads = 0
        self.keys: list[TokenKey] = []
        self.document = document
        self.source = TokenSource.CACHE
        self._get_token = get_token
        self.clock = FakeClock()
        self.events = Events(log or self.lines.append, wall=lambda: self.clock().wall, worker="w")
        callers = Callers(
            self,
            Deployment(OFFERS, {issuer.name: issuer.trusted.tenant_id for issuer in ISSUERS}),
            pool=InPlace(),
            limits=Limits(),
            clock=self.clock,
            events=self.events,
            on_new_generation=lambda: None,
        )
        keys = {
            issuer.name: IssuerKeys(
                issuer.name, partial(fetch or _fetch, issuer), limits=Limits(), clock=self.clock, events=self.events
            )
            for issuer in ISSUERS
        }
        trusted = {issuer.issuer: issuer.trusted for issuer in ISSUERS}
        self.vendor = Vendor(
            callers=Recognition(callers, issuers=trusted, keys=keys, clock=self.clock),
            tokens=self,
            offers=OFFERS,
            app_checked_routes=app_checked_routes,
            limits=Limits(),
            system=fake_system(self.clock),
            events=self.events,
        )

    def ask(self, body: bytes = FORM, *, method: str = "POST", key: str = KEY, query: str = "") -> Answer:
        """Answer one request to `/api/token`."""
        headers = {"x-functions-key": key, "content-type": MEDIA}
        return self.answer(FUNCTION_KEY, Incoming(method, f"http://localhost/api/token{query}", headers, body))

    def answer(self, route: Route, incoming: Incoming) -> Answer:
        """Answer one request; the answer and what is told of it keep to the contract."""
        before = len(self.lines)
        answer = asyncio.run(self.vendor.answer(route, incoming))
        assert conforms(f"/api/{route.name}", incoming.method, answer.status, answer.headers, answer.body) == []
        assert [fault for line in self.lines[before:] for fault in event_conforms(line)] == []
        return answer

    def token(self, lifetime: float = 3600.0) -> AccessToken:
        """Make a token that was got now."""
        return AccessToken("secret", self.clock(), lifetime=lifetime, refresh_after=1440.0)

    async def read(self, etag: str) -> Content | None:
        """Read the document, as its source."""
        self.reads += 1
        return None if etag == self.document else Content(self.document, self.document.encode())

    async def get(
        self, key: TokenKey, *, claims: str | None = None, rejected: str | None = None, caller: str = ""
    ) -> Acquired:
        """Serve what the test makes."""
        assert (claims, rejected) == (None, None)
        assert f"[callers.{caller}]" in self.document.replace('"', "")
        assert (key.profile, key.scope in OFFERS["graph"].scopes) == ("graph", True)
        self.keys.append(key)
        made = self._get_token(self)
        return Acquired(made if isinstance(made, AccessToken) else await made, self.source)


class InPlace(Executor):
    """Runs everything at once, in the thread that asks."""

    def submit[**P, T](self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it."""
        future = Future[T]()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # as an executor does
            future.set_exception(error)
        return future


async def _fetch(issuer: IssuerSettings) -> KeySet:
    return issuer.key_set


def good(route: Route, *, key: str = KEY, name: str = "billing") -> Incoming:
    """Make a request that is answered with a token."""
    if route is ENTRA:
        subject = name if key == KEY else "nobody"
        url = f"https://vend.test/api/{route.name.replace('{tenant}', TENANT)}"
        form = {"client_id": name, "client_assertion_type": ASSERTION_TYPE, "client_assertion": token_of(subject)}
        return Incoming("POST", url, {"content-type": MEDIA}, FORM + b"&" + urlencode(form).encode())
    url, media = f"https://vend.test/api/{route.name}", {"content-type": MEDIA}
    if route is MANAGED_IDENTITY:
        query = "?api-version=2019-08-01&resource=https://graph.microsoft.com/"
        return Incoming("GET", url + query, {"x-identity-header": key}, b"")
    if route is OAUTH:
        basic = base64.b64encode(f"{name}:{key}".encode()).decode()
        return Incoming("POST", url, {**media, "authorization": f"Basic {basic}"}, FORM)
    return Incoming("POST", url, {**media, "x-functions-key": key}, FORM)


def denied(incoming: Incoming) -> Incoming:
    """Ask for what the caller may not have."""
    return replace(
        incoming,
        url=incoming.url.replace("graph.microsoft.com", "vault.azure.net"),
        body=incoming.body.replace(b"graph.microsoft.com", b"vault.azure.net"),
    )


def malformed(incoming: Incoming) -> Incoming:
    """Break what stands behind the caller's credentials."""
    return replace(incoming, url=f"{incoming.url}?resource=%", body=incoming.body and incoming.body + b"&%")
