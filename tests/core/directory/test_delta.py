import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.directory.delta import (
    Change,
    ColumnValue,
    LinkKind,
    Mended,
    ObjectState,
    leads_to,
    read_list,
    read_page,
)
from shared.core.directory.streams import LOOKUP_LENGTH, USERS
from shared.core.errors import BadAnswer
from shared.core.origins import URL_LENGTH
from tests.tables import case_id, cases

ROOT, FITS = "https://graph.microsoft.com", "x" * LOOKUP_LENGTH
IDS = {"A": "aaaaaaaa-0000-0000-0000-000000000001", "B": "bbbbbbbb-0000-0000-0000-000000000002"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An object of a page, and what is new of it; "NULL" stands for None."""

    id: str
    state: ObjectState
    values: Mapping[str, str | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer of Graph; tests/data/pages.toml describes the fields."""

    id: str
    body: str
    kind: LinkKind | None = None
    changes: tuple[Changed, ...] = ()
    refused: str | None = None
    mended: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One page of a plain list of Graph's."""

    id: str
    body: str
    ids: tuple[str, ...] = ()
    link: str = ""
    refused: str | None = None


def body_of(case: Page | Listed) -> bytes:
    """Write out what the body of a case stands for."""
    body = case.body.replace("ROOT", ROOT).replace("CAPITALS", IDS["A"].upper()).replace("LONG", "x" * URL_LENGTH)
    body = body.replace("FITS", FITS)
    for name, oid in IDS.items():
        body = body.replace(f'"{name}"', f'"{oid}"')
    return body.encode()


def values_of(change: Changed) -> Mapping[str, ColumnValue]:
    """Return what the values of a case stand for."""
    return {
        name: None if value == "NULL" else value.replace("FITS", FITS) if isinstance(value, str) else value
        for name, value in change.values.items()
    }


@pytest.mark.parametrize("case", cases("pages.toml", Page, "page", beside=("list",)), ids=case_id)
def test_a_page_is_read_or_refused(case: Page) -> None:
    """Each answer of Graph is one list of changes and one link, or refused as a whole."""
    if case.refused is not None:
        with pytest.raises(BadAnswer) as caught:
            read_page(body_of(case), USERS, root=ROOT)
        assert caught.value.cause == case.refused
        return
    page = read_page(body_of(case), USERS, root=ROOT)
    assert page.kind is case.kind
    assert page.link.startswith(ROOT)
    assert page.changes == [Change(IDS[change.id], change.state, values_of(change)) for change in case.changes]
    assert page.mended == {name: Mended(IDS.get(oid, ""), number) for name, (oid, number) in case.mended.items()}


@pytest.mark.parametrize("case", cases("pages.toml", Listed, "list", beside=("page",)), ids=case_id)
def test_a_list_is_read_or_refused(case: Listed) -> None:
    """SEC-12: its next link is Graph's, and what it tells is of objects with an id of Entra's."""
    if case.refused is not None:
        with pytest.raises(BadAnswer) as caught:
            read_list(body_of(case), USERS, root=ROOT)
        assert caught.value.cause == case.refused
        return
    changes, link = read_list(body_of(case), USERS, root=ROOT)
    assert [change.id for change in changes] == [IDS[name] for name in case.ids]
    assert link == case.link.replace("ROOT", ROOT)


@pytest.mark.parametrize(
    "link",
    [
        "http://graph.microsoft.com/v1.0/users/delta",
        "https://graph.microsoft.com.evil.example/",
        "https://graph.microsoft.com@evil.example/",
        "https://evil.example/?https://graph.microsoft.com/",
        "https://graph.microsoft.com:444/",
        "https://graph.microsoft.com:99999/",
        "https://graph.microsoft.com\\@evil.example/",
        "https://127.0.0.1/",
        "https://[::1/",
        "//graph.microsoft.com/",
        "/v1.0/users/delta",
        "https://user@graph.microsoft.com/",
        "https://graph.microsoft.com/\r\nx-evil: 1",
        "https://gr\u0430ph.microsoft.com/",
        "",
    ],
)
def test_a_token_goes_to_graph_alone(link: str) -> None:
    """SEC-12: scheme, host and port are Graph's, or the link is not followed."""
    assert not leads_to(link, ROOT)


@pytest.mark.parametrize("link", ["https://graph.microsoft.com/x?$deltatoken=a", "https://GRAPH.microsoft.com:443/x"])
def test_graph_s_own_links_are_followed(link: str) -> None:
    """A default port that is written out, and a host in capitals, are the same origin (RFC 3986 section 6.2)."""
    assert leads_to(link, ROOT)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["id", "@removed", "mail"]), inner),
    max_leaves=8,
)
links = st.just(f"{ROOT}/x") | st.just("https://evil.example/x") | values
pages = st.fixed_dictionaries(
    {}, optional={"value": values | st.lists(values), "@odata.nextLink": links, "@odata.deltaLink": links}
)


@given(st.binary() | pages.map(lambda page: json.dumps(page).encode()))
def test_no_page_breaks_the_reader(body: bytes) -> None:
    """TST-16: whatever comes is a page of Graph's or refused in our own words."""
    with suppress(BadAnswer):
        assert leads_to(read_page(body, USERS, root=ROOT).link, ROOT)
