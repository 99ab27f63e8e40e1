"""Whose token is whose, from the request to the cache: the routes, the policy and the cache are the app's own."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.api.routes import ROUTES, Route
from shared.api.vendor import Vendor
from shared.core.errors import UnknownCaller
from shared.core.identity_token import Subject
from shared.core.limits import Limits
from shared.core.policy import Allow, Caller, Offer
from shared.core.token import AccessToken, Acquired, TokenSource, Wanted
from shared.telemetry.events import Events
from shared.tokens.cache import TokenCache
from tests.clock import FakeClock, fake_system
from tests.wire import KEYED, Change, wire

ROUTE: dict[str, Route] = {route.name: route for route in ROUTES if route.name in KEYED}
TENANTS = ("7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60", "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e61")
RESOURCES = ("api://x", "api://X", "api://x/", "api://x-y", "api://x/y", "api://y")
# Names that would be one if they were only joined: p with -q-x is p-q with -x.
PROFILES = {"p": "c" * 8 + "-0000-0000-0000-" + "1" * 12, "p-q": "c" * 8 + "-0000-0000-0000-" + "2" * 12}
SCOPES = tuple(f"{resource}/.default" for resource in RESOURCES)
# Of one profile, and for one caller, each caller has tokens of its own.
OFFERS = {
    name: Offer(tenants=TENANTS, scopes=SCOPES, client_id=client_id, vendable=True, share=name != "p-q")
    for name, client_id in PROFILES.items()
}
# One has all of a profile, one all of the other; the third has half of each, and the fourth lacks what ends in a slash.
CALLERS = {
    "one": (Allow(profile="p", scopes=SCOPES),),
    "two": (Allow(profile="p-q", scopes=SCOPES),),
    "three": (
        Allow(profile="p-q", scopes=SCOPES, tenants=TENANTS[1:]),
        Allow(profile="p", scopes=SCOPES[:4], tenants=TENANTS[:1]),
    ),
    "four": (Allow(profile="p", scopes=tuple(scope for scope in SCOPES if "//.default" not in scope)),),
}
KEYS = {name: f"a-function-key-of-{name}" for name in CALLERS}


@dataclass(frozen=True)
class Asked:
    """A request, by what can differ between two."""

    way: str
    caller: str
    resource: str
    tenant: str | None = None
    client_id: str | None = None

    @property
    def change(self) -> Change:
        """Return how the request differs from a good one."""
        wanted = {"scope": self.resource if self.way == "msi/token" else self.resource + "/.default"}
        more = {"client_id": self.client_id} if self.way == "msi/token" else {"tenant": self.tenant}
        wanted |= {name: value for name, value in more.items() if value is not None}
        return Change(key=self.caller, name=self.caller, fields=wanted)

    @property
    def meaning(self) -> tuple[str, str, str, str] | None:
        """Say what it is for, and for whom alone, by the callers' entries; None where they give nothing."""
        meant = [f"{self.resource}/.default"]
        if self.way == "msi/token":
            if self.resource.endswith("/.default"):
                meant = [self.resource]
            elif self.resource.endswith("/"):
                meant.append(f"{self.resource}.default")
        tenant = self.tenant.lower() if self.tenant and self.way != "msi/token" else None
        client_id = self.client_id.lower() if self.client_id and self.way == "msi/token" else None
        given = [
            (allow.profile, of, scope, self.caller if allow.profile == "p-q" or self.caller == "four" else "")
            for scope in meant
            for allow in CALLERS[self.caller]
            for of in allow.tenants or TENANTS
            if scope in allow.scopes and tenant in {None, of} and client_id in {None, PROFILES[allow.profile]}
        ]
        return given[0] if given else None


ASKED = st.builds(
    Asked,
    way=st.sampled_from(sorted(ROUTE)),
    caller=st.sampled_from(sorted(CALLERS)),
    resource=st.sampled_from([*RESOURCES, *SCOPES, "api://x//"]),
    tenant=st.none() | st.sampled_from([*TENANTS, TENANTS[0].upper()]),
    client_id=st.none() | st.sampled_from([*PROFILES.values(), PROFILES["p"].upper()]),
)


class Worker:
    """One worker whose Entra issues tokens that say for what they are, and no two that are alike."""

    def __init__(self) -> None:
        self._clock, self._issued = FakeClock(), 0
        events = Events(lambda _: None, wall=lambda: self._clock().wall, worker="w")
        system = fake_system(self._clock, chance=lambda: 0.5)
        tokens = TokenCache(self._acquire, version=lambda _: "", limits=Limits(), system=system, events=events)
        self._vendor = Vendor(
            callers=self,
            tokens=tokens,
            offers=OFFERS,
            app_checked_routes=True,
            limits=Limits(),
            system=system,
            events=events,
        )

    def tokens(self, asked: Sequence[Asked]) -> list[str | None]:
        """Answer requests that come all at once; None is for a denial."""

        async def all_at_once() -> list[str | None]:
            return await asyncio.gather(*map(self._answer, asked))

        return asyncio.run(all_at_once())

    async def _answer(self, asked: Asked) -> str | None:
        answer = await self._vendor.answer(ROUTE[asked.way], wire(asked.change, asked.way, KEYS).incoming())
        assert answer.status in {200, 400}
        token: str | None = json.loads(answer.body).get("access_token")
        return token

    async def _acquire(self, wanted: Wanted) -> Acquired:
        assert wanted.claims is None
        self._issued += 1
        number = self._issued
        for _ in range(number % 4):
            await asyncio.sleep(0)
        secret = f"{number} {json.dumps(wanted.key)}"
        token = AccessToken(secret, self._clock(), lifetime=3600.0, refresh_after=1440.0)
        return Acquired(token, TokenSource.IDENTITY_PROVIDER)

    def revalidate(self, now: float) -> None:
        """Find the document new enough."""

    def identify(self, key: str, *, host_checked: bool) -> Caller:
        """Find the caller of a key."""
        assert key in KEYS.values() or host_checked
        for name, known in KEYS.items():
            if key == known:
                return Caller(name=name, allow=CALLERS[name], share=name != "four")
        raise UnknownCaller

    async def verify(self, token: str, *, beside_key: bool) -> Subject | None:
        """Verify nothing."""
        raise NotImplementedError(token, beside_key)

    def caller_with(self, identity: Subject, *, key: str | None) -> Caller:
        """Find nobody."""
        raise NotImplementedError(identity, key)


def is_for(token: str | None) -> tuple[str, ...] | None:
    """Read for what a token is."""
    return tuple(json.loads(token.partition(" ")[2])) if token else None


@given(first=ASKED, second=ASKED, field=st.sampled_from([field.name for field in fields(Asked)]))
@example(Asked("token", "one", "api://x", TENANTS[0]), Asked("token", "one", "api://x", TENANTS[0].upper()), "tenant")
@example(Asked("msi/token", "one", "api://x/"), Asked("msi/token", "four", "api://x/"), "caller")
def test_two_requests_share_a_token_if_they_mean_the_same(first: Asked, second: Asked, field: str) -> None:
    """SEC-01, SEC-02, SEC-04: of two that differ in one thing, each gets what its entries give, and no more."""
    second = replace(first, **{field: getattr(second, field)})
    assume(first.meaning or second.meaning)
    worker = Worker()
    (one,), (other,) = worker.tokens([first]), worker.tokens([second])
    assert (is_for(one), is_for(other)) == (first.meaning, second.meaning)
    assert (one == other) is (first.meaning == second.meaning)


@given(crowd=st.lists(ASKED, min_size=2, max_size=12))
def test_a_crowd_at_the_door_gets_what_each_asked_for(crowd: list[Asked]) -> None:
    """SEC-03: whoever joins whose flight, each gets a token for what it may have, and equal ones get one."""
    tokens = Worker().tokens(crowd)
    assert [is_for(token) for token in tokens] == [asked.meaning for asked in crowd]
    assert len({token for token in tokens if token}) == len({asked.meaning for asked in crowd if asked.meaning})
