"""Laws about edits of callers documents: what is removed or spoiled gives nobody more, unless the document says so."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.documents.callers import CallersDocument
from shared.core.documents.table import dotted
from shared.core.documents.toml import DocumentError
from shared.core.errors import PolicyDenied
from shared.core.policy import EVERYBODY, Caller, decide
from shared.core.request import TokenRequest
from tests.core.documents.test_callers import KEYS, NOBODY, NOW, keys_of, parsed
from tests.core.test_policy import CLIENT, OFFERS, ONE, TWO

# Of each profile that can be vended, its tenants and scopes.
HAS = {name: (offer.tenants, offer.scopes) for name, offer in OFFERS.items() if offer.vendable}
TENANTS, SCOPES = (ONE, TWO), tuple(dict.fromkeys(scope for offer in OFFERS.values() for scope in offer.scopes))

type Path = tuple[str | int, ...]
type Given = tuple[str | None, str | None, bool]
"""What the law is about, for each key: a tenant, a scope, and whether its caller is an administrator."""


def given_by(document: CallersDocument) -> dict[str, set[Given]]:
    """List what each key may have, by asking for everything there is."""
    found = {digest: document.caller_of(digest, host_checked=True) for digest in (*KEYS, NOBODY)}
    given = {caller: set(_given_to(caller)) for caller in set(found.values())}
    return {digest: given[caller] for digest, caller in found.items()}


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
def documents(draw: st.DrawFn, grants: st.SearchStrategy[list[dict[str, Any]]]) -> dict[str, Any]:
    """Make the tables of a document whose only mistakes are those of its grants; entries of a caller may overlap."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3))
    keys = iter(draw(st.permutations(KEYS)))
    entries: dict[str, Any] = {}
    for name in names:
        entry = {"key_sha256": [next(keys) for _ in range(draw(st.integers(1, 2)))]}
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


def gets_more(before: dict[str, set[Given]], editor: Editor) -> bool:
    """Return whether a key gets more by the edited document than before, if that is taken.

    Three things mean more when they are gone, because the operator says so: `tenants`, without which an entry is about
    all of them; `not_after`, without which it has no end; and a key that no entry has any more, which falls under `"*"`
    if the host still accepts it.
    """
    try:
        after = given_by(parsed(_text(editor.table)))
    except DocumentError:
        return False
    freed = {digest: before[NOBODY] if digest in editor.freed else set() for digest in before}
    return any(not after[digest] <= before[digest] | freed[digest] for digest in before)


@given(table=documents(st.lists(RESOLVED, min_size=1, max_size=3)), data=st.data())
def test_what_is_removed_or_spoiled_gives_nobody_more(table: dict[str, Any], data: st.DataObject) -> None:
    """REL-64, the law: of a good document, however much is removed or spoiled, nothing new is given to any key."""
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


@st.composite
def taken_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Make the tables of a document with mistakes that cost callers their grants or their entry, and nobody else."""
    editor = Editor(draw(documents(st.lists(RESOLVED | UNRESOLVED, min_size=1, max_size=3))))
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


@given(table=taken_documents())
@example(table={"callers": {"a": AUDITED}})
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
    for path in list(_paths(table)):
        at = reduce(lambda above, step: f"{above}[{step}]" if isinstance(step, int) else dotted(above, step), path, "")
        if any(_is_within(name, at) or _is_within(at, name) for name in named):
            continue
        for how, instead in (("remove", None), ("spoil", "api://zz/.default")):
            editor = Editor(deepcopy(table))
            editor.edit(path, how, instead)
            assert not gets_more(before, editor), (how, at)
