"""FND-C8: what a request that had to wait gets, when the callers document has changed meanwhile."""

import asyncio
import json
from dataclasses import replace

import pytest

from shared.api.routes import ENTRA, FUNCTION_KEY, ROUTES, Route
from shared.core.token import AccessToken, TokenSource
from tests.api.shop import ALLOW, KEY, OTHER_TENANT, OTHERS, TENANT, Shop, entry, good, malformed
from tests.clock import run_virtual
from tests.contract import conforms

REASONS = {"unknown key": "of no caller"}
"""What is said of a token where this is said of a key."""


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize(
    ("later", "status", "reason"),
    [
        (entry("other", ALLOW, key=OTHERS), 401, "unknown key"),
        (entry("billing", "not_after = 2020-01-01T00:00:00Z", ALLOW, key=KEY), 401, "the time of billing is over"),
        (entry("billing", key=KEY), 400, "the caller may have nothing"),
        (entry("billing", 'mode = "audit"', ALLOW, key=KEY), 200, None),
    ],
    ids=["revoked", "expired", "denied", "other"],
)
@pytest.mark.parametrize(
    ("seconds", "source"),
    [(16, TokenSource.IDENTITY_PROVIDER), (0.05, TokenSource.IDENTITY_PROVIDER), (1, TokenSource.CACHE)],
)
def test_who_was_revoked_while_entra_was_slow_gets_no_token(
    route: Route, later: str, status: int, reason: str | None, seconds: float, source: TokenSource
) -> None:
    """FND-C8: after a wait the caller is identified, and its request decided, by the document as it is then."""

    async def slow(shop: Shop) -> AccessToken:
        shop.document = later
        await asyncio.sleep(seconds)
        return shop.token()

    shop = Shop(slow)
    shop.source = source

    async def story() -> None:
        await shop.vendor.answer(route, malformed(good(route)))  # the document is read, and a token verified
        await asyncio.sleep(30 - seconds)  # a check of the document begins with the request, or must precede the answer
        answer = await shop.vendor.answer(route, good(route))
        assert answer.status == status
        assert conforms(f"/api/{route.name}", route.method, answer.status, answer.headers, answer.body) == []

    run_virtual(story, shop.clock)
    event = json.loads(shop.lines[-1])
    if route is ENTRA and status == 401:
        reason = f"identity token of cluster: {REASONS.get(reason or '', reason)}"
    assert (event["status"], event["caller"], event.get("reason")) == (status, "billing", reason)
    assert ("token" in event) is (status == 200)


def test_entries_that_changed_while_entra_was_slow_are_those_that_count() -> None:
    """FND-C8: the token is one that the caller may have now."""

    async def slow(shop: Shop) -> AccessToken:
        shop.document = tenant(OTHER_TENANT)
        await asyncio.sleep(13)
        return shop.token()

    shop = Shop(slow, document=tenant(TENANT))

    async def story() -> None:
        await shop.vendor.answer(FUNCTION_KEY, replace(good(FUNCTION_KEY), body=b"x"))  # the document is read
        await asyncio.sleep(17)
        assert (await shop.vendor.answer(FUNCTION_KEY, good(FUNCTION_KEY))).status == 200

    run_virtual(story, shop.clock)
    assert [key.tenant_id for key in shop.keys] == [TENANT, OTHER_TENANT]
    assert json.loads(shop.lines[-1])["tenant_id"] == OTHER_TENANT


def test_what_a_request_waits_for_adds_up_to_28_seconds() -> None:
    """REL-63: a token takes 15 s; then the caller may have only another one, which would take as long."""

    async def slow(shop: Shop) -> AccessToken:
        shop.document = tenant(OTHER_TENANT if len(shop.keys) == 1 else TENANT)
        await asyncio.sleep(15)
        return shop.token()

    shop = Shop(slow, document=tenant(TENANT))

    async def story() -> None:
        await shop.vendor.answer(FUNCTION_KEY, replace(good(FUNCTION_KEY), body=b"x"))  # the document is read
        await asyncio.sleep(15)
        began = shop.clock().boot
        answer = await shop.vendor.answer(FUNCTION_KEY, good(FUNCTION_KEY))
        assert (answer.status, answer.headers["Retry-After"]) == (504, "5")
        assert shop.clock().boot - began == 28

    run_virtual(story, shop.clock)
    event = json.loads(shop.lines[-1])
    assert (event["outcome"], event["reason"]) == ("temporarily_unavailable", "the time of the request ran out")


def tenant(tenant_id: str) -> str:
    """Write a document by which the caller may have tokens of one tenant."""
    return entry("billing", ALLOW.replace("}]", f', tenants = ["{tenant_id}"] }}]'), key=KEY)
