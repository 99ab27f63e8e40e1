"""Laws about edits of callers documents: what is removed or spoiled gives nobody more, unless the document says so."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.documents.callers import CallersDocument
from shared.core.documents.table import dotted
from shared.core.documents.toml import DocumentError
from shared.core.errors import PolicyDenied
from shared.core.identity_token import Subject
from shared.core.policy import EVERYBODY, Caller, decide
from shared.core.request import TokenRequest
from tests.core.documents.test_callers import ISSUERS, KEYS, NOBODY, NOW, keys_of, parsed
from tests.core.test_policy import CLIENT, OFFERS, ONE, TWO

# Of each profile that can be vended, its tenants and scopes.
HAS = {name: (offer.tenants, offer.scopes) for name, offer in OFFERS.items() if offer.vendable}
IDENTITIES: Mapping[Subject, dict[str, str]] = {
    **{Subject("cluster", name): {"issuer": "cluster", "subject": name} for name in ("one", "two")},
    Subject("entra", CLIENT, ONE): {"issuer": "entra", "object_id": CLIENT, "tenant_id": ONE},
}
UNKNOWN: list[dict[str, str]] = [
    {"issuer": "gone", "subject": "one"},
    {"issuer": "entra", "subject": CLIENT},
    {"issuer": "entra", "object_id": CLIENT, "tenant_id": TWO},
]
"""Identities that no issuer resolves."""
SUBJECTS = (*IDENTITIES, Subject("gone", "one"), Subject("entra", CLIENT), Subject("cluster", CLIENT, ONE))
TENANTS, SCOPES = (ONE, TWO), tuple(dict.fromkeys(scope for offer in OFFERS.values() for scope in offer.scopes))

type Path = tuple[str | int, ...]
type Given = tuple[str | None, str | None, bool]
"""What the law is about, for each key: a tenant, a scope, and whether its caller is an administrator."""
type Proof = str | Subject
"""What a caller proves itself with: a key by its hash, or the identity of a token."""


def given_by(document: CallersDocument) -> dict[Proof, set[Given]]:
    """List what each key and each identity may have, by asking for everything there is."""
    found: dict[Proof, Caller | None] = {
        **{digest: document.caller_of(digest, host_checked=True) for digest in (*KEYS, NOBODY)},
        **{identity: document.caller_with(identity) for identity in SUBJECTS},
    }
    given = {caller: set(_given_to(caller)) for caller in set(found.values())}
    return {proof: given[caller] for proof, caller in found.items()}


def _given_to(caller: Caller | None) -> Iterator[Given]:
    if caller is None or caller.is_expired(NOW):
        return
    powers = {False, caller.admin}
    yield from ((None, None, power) for power in powers)
    for scope in SCOPES:
        for tenant in (None, *TENANTS):
            for client in (None, CLIENT):
                try:
                    key = decide(caller, TokenRequest((scope,), tenant, client_id=client), OFFERS).key
                except PolicyDenied:
                    continue
                yield from ((key.tenant_id, key.scope, power) for power in powers)


@st.composite
def documents(
    draw: st.DrawFn, grants: st.SearchStrategy[list[dict[str, Any]]], unknown: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """Make the tables of a document.

    Its only mistakes are those of its grants and its `unknown` identities; entries of a caller may overlap.
    """
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3))
    keys = iter(draw(st.permutations(KEYS)))
    identities = iter(draw(st.permutations([*IDENTITIES.values(), *unknown])))
    entries: dict[str, Any] = {}
    for name in names:
        entry: dict[str, Any] = {}
        how = draw(st.sampled_from(["keys", "identity", "both"]))
        if how != "identity":
            entry["key_sha256"] = [next(keys) for _ in range(draw(st.integers(1, 2)))]
        if how != "keys":
            entry["identity"] = [dict(next(identities))]
        entries[name] = entry | draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "admin": st.booleans(),
                    "mode": st.sampled_from(["enforce", "audit"]),
                    "not_after": st.sampled_from([NOW, NOW + timedelta(days=1)]),
                    "allow": grants,
                },
            )
        )
    if draw(st.booleans()):
        entries[EVERYBODY] = draw(st.fixed_dictionaries({}, optional={"allow": grants}))
    return {"callers": entries}


def _some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


def _grant(profile: str, tenants: tuple[str, ...], scopes: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"profile": st.just(profile), "scopes": _some(scopes)}, optional={"tenants": _some(tenants)}
    )


RESOLVED = st.one_of([_grant(name, *has) for name, has in sorted(HAS.items())])
UNRESOLVED = st.sampled_from(["gone", *OFFERS]).flatmap(lambda name: _grant(name, (*TENANTS, CLIENT), SCOPES))
SPOILT: list[Any] = [7, "", "x", [], {}, [7], ["x"], [[]], {"x": 7}, "api://zz/.default", "B" * 64, NOBODY[:-1]]


def _paths(table: object, at: Path = (), *, least: int = 1) -> Iterator[Path]:
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in items:
        if len(at) + 1 >= least:
            yield (*at, key)
        yield from _paths(value, (*at, key), least=least)


def _inline(value: object) -> str:
    """Write a value as TOML, in one line."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    return f"[{', '.join(map(_inline, value))}]" if isinstance(value, list) else json.dumps(value)


def _text(table: Mapping[str, Any]) -> str:
    entries = table.get("callers", {})
    lines = [f"{json.dumps(key)} = {_inline(value)}" for key, value in table.items() if key != "callers"]
    if not isinstance(entries, dict):
        return "\n".join(["generation = 1", *lines, f"callers = {_inline(entries)}"])
    lines += [f"callers.{json.dumps(name)} = {_inline(entry)}" for name, entry in entries.items()]
    return "\n".join(["generation = 1", *lines])


def _listed(entry: object) -> list[str]:
    keys = entry.get("key_sha256") if isinstance(entry, dict) else None
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


class Editor:
    """Somebody who removes and spoils elements of a document.

    Attributes:
        table: the document now.
        freed: hashes of keys that may be in no entry any more.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self.freed: set[str] = set()
        # Of each entry that there was: what it is called now, and its keys.
        self._entries = {name: set(_listed(entry)) for name, entry in table["callers"].items()}

    def edit(self, path: Path, how: str, instead: object = None) -> None:
        """Change one element: remove it, rename it, or put something else in its place."""
        *above, last = path
        parent: Any = self.table
        for step in above:
            parent = parent[step]
        match how:
            case "spoil":
                parent[last] = deepcopy(instead)
            case "rename" if isinstance(parent, dict):
                parent[f"{last}x"] = parent.pop(last)
                if above == ["callers"]:
                    self._entries[f"{last}x"] = self._entries.pop(str(last), set())
            case _ if last not in {"tenants", "not_after"}:
                del parent[last]
                self._free(path)

    def _free(self, path: Path) -> None:
        if len(path) == 2 or path[2:3] == ("key_sha256",):
            self.freed |= self._entries.get(str(path[1]), set())


def gets_more(before: dict[Proof, set[Given]], editor: Editor) -> bool:
    """Return whether a key or an identity gets more by the edited document than before, if that is taken.

    Three things mean more when they are gone. Without `tenants` an entry is about all of them. Without `not_after` it
    has no end. A key that no entry has any more falls under `"*"` if the host still accepts it.
    """
    try:
        after = given_by(parsed(_text(editor.table)))
    except DocumentError:
        return False
    freed = {proof: before[NOBODY] if proof in editor.freed else set() for proof in before}
    return any(not after[proof] <= before[proof] | freed[proof] for proof in before)


@pytest.mark.slow
@given(table=documents(st.lists(RESOLVED, min_size=1, max_size=3)), data=st.data())
def test_what_is_removed_or_spoiled_gives_nobody_more(table: dict[str, Any], data: st.DataObject) -> None:
    """REL-64, the law: of a good document, nothing that is removed or spoiled gives a key or an identity more."""
    base = parsed(_text(table))
    assert not base.mistakes
    before = given_by(base)
    for path in list(_paths(table)):
        for how, instead in (("remove", None), ("spoil", []), ("spoil", 7)):
            editor = Editor(deepcopy(table))
            editor.edit(path, how, instead)
            assert not gets_more(before, editor)
    editor = Editor(table)
    for _ in range(3):
        if not (paths := list(_paths(table))):
            return
        how = data.draw(st.sampled_from(["remove", "spoil", "rename"]))
        editor.edit(data.draw(st.sampled_from(paths)), how, data.draw(st.sampled_from(SPOILT)))
        assert not gets_more(before, editor)


@given(table=documents(st.lists(RESOLVED, min_size=1, max_size=3)), name=st.sampled_from(sorted(ISSUERS)))
def test_an_issuer_that_is_gone_gives_nobody_more(table: dict[str, Any], name: str) -> None:
    """The same law for `[issuers]`: the identities of one that is gone, or is of another kind, are nobody's."""
    before = given_by(parsed(_text(table)))
    for others in ({}, {name: TWO}, {name: ""}):
        issuers = {each: tenant for each, tenant in ISSUERS.items() if each != name} | others
        after = given_by(parsed(_text(table), issuers))
        assert all(after[proof] <= before[proof] for proof in before)


@st.composite
def taken_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Make the tables of a document with mistakes that cost callers their grants or their entry, and nobody else."""
    editor = Editor(draw(documents(st.lists(RESOLVED | UNRESOLVED, min_size=1, max_size=3), UNKNOWN)))
    for _ in range(draw(st.integers(0, 2))):
        if paths := list(_paths(editor.table, least=2)):
            how = draw(st.sampled_from(["spoil", "rename"]))
            editor.edit(draw(st.sampled_from(paths)), how, draw(st.sampled_from(SPOILT)))
    return editor.table


def _is_within(at: str, above: str) -> bool:
    return at == above or at.startswith((f"{above}.", f"{above}["))


AUDITED = {
    "key_sha256": [KEYS[0]],
    "mode": "audit",
    "allow": [
        {"profile": "other", "scopes": ["api://b/.default"], "tenants": list(TENANTS)},
        {"profile": "graph", "scopes": ["api://a/.default", "api://b/.default"]},
    ],
}
"""In audit mode the first grant decides about a scope that it does not list, too."""
GONE = {"profile": "gone", "scopes": ["api://a/.default"]}
"""Withholds its scope from a later grant in audit mode, also where that one lists what its profile does not have."""


@pytest.mark.slow
@given(table=taken_documents())
@example(table={"callers": {"a": AUDITED}})
@example(table={"callers": {"a": {**AUDITED, "allow": [GONE, {"profile": "graph", "scopes": ["api://c/.default"]}]}}})
def test_an_edit_gives_more_only_where_the_document_says_so(table: dict[str, Any]) -> None:
    """REL-64: a mistake that is taken out withholds nothing any more. It is named, and so is what it withholds.

    So whatever a document has wrong: an edit at a place that no mistake and no warning names gives nobody more.
    """
    try:
        base = parsed(_text(table))
    except DocumentError:
        return  # it is not taken
    before = given_by(base)
    # Entries that overlap are named too, but neither of them withholds anything.
    named = keys_of([*base.mistakes, *(each for each in base.warnings if not each.endswith("which decides"))])
    # A grant of no profile withholds what it lists, by its other members too.
    named += [name.removesuffix(".profile") for name in named]
    for path in list(_paths(table)):
        at = reduce(lambda above, step: f"{above}[{step}]" if isinstance(step, int) else dotted(above, step), path, "")
        if any(_is_within(name, at) or _is_within(at, name) for name in named):
            continue
        for how, instead in (("remove", None), ("spoil", "api://zz/.default")):
            editor = Editor(deepcopy(table))
            editor.edit(path, how, instead)
            assert not gets_more(before, editor), (how, at)
