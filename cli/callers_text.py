"""Edits the text of the callers document: what was there stays as it was, comments and order too.

Each edit is checked by what a TOML parser makes of the text before and after: nothing else has changed.
"""

import itertools
import json
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from shared.core.policy import Allow

BY_HAND = "is written in a way that only a person can edit"

type Value = int | str | datetime

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


class CannotEdit(Exception):
    """It cannot be edited so; the text says what it is or has."""


def with_caller(text: str, name: str, *, digest: str, allow: Sequence[Allow], not_after: datetime | None = None) -> str:
    """Add an entry behind all others.

    Raises:
        CannotEdit: there is such a caller, or only a person can edit the document.
    """
    if name in _callers(text):
        raise CannotEdit(f"has a caller {name} already")
    entries = ", ".join(_inline(entry) for entry in allow)
    key = name if _BARE.match(name) else json.dumps(name)
    end = f"not_after = {tomlkit.item(not_after).as_string()}\n" if not_after else ""
    entry = f'[callers.{key}]\nkey_sha256 = ["{digest}"]\n{end}allow = [{entries}]\n'

    def expect(table: dict[str, Any]) -> None:
        table["callers"][name] = tomllib.loads(entry)["callers"][name]

    return _checked(text, text.rstrip("\n") + "\n\n" + entry, expect)


def without_caller(text: str, name: str) -> str:
    """Take an entry out; comments above it and below it stay.

    If nothing is left, the document gets a generation: no worker believes an empty one.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    _entry(text, name)
    left = _without_sections(text, lambda header: _is_of(header, name), lambda table: table["callers"].pop(name))
    return left if tomllib.loads(left) else with_generation(left, generation_of(left))


def with_keys(text: str, name: str, keys: Sequence[str], *, over: Sequence[str]) -> str:
    """Replace the keys of an entry.

    Args:
        text: the document.
        name: of the caller.
        keys: the new ones.
        over: those that the entry had when the new ones were decided on.

    Raises:
        CannotEdit: there is no such caller, it has other keys by now, or only a person can edit the document.
    """
    if _entry(text, name).get("key_sha256") != list(over):
        raise CannotEdit(f"has other keys of {name} by now")

    def edit(entry: Any) -> None:  # noqa: ANN401  # tomlkit has no better type for a table
        held = entry["key_sha256"]
        for digest in [digest for digest in held if digest not in keys]:
            held.remove(digest)
        for digest in [digest for digest in keys if digest not in held]:
            held.append(digest)

    return _with_entry(text, name, edit, lambda entry: entry.update(key_sha256=list(keys)))


def with_new_keys(text: str, name: str, keys: Sequence[str], *, without: str | None) -> str:
    """Add the first keys to an entry that has none.

    Args:
        text: the document.
        name: of the caller.
        keys: the hashes; none where the caller gets no key.
        without: a key of the entry that goes.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    if without:
        text = with_values(text, name, {without: None})
    return _with_line(text, name, "key_sha256", json.dumps(list(keys))) if keys else text


def names_of(text: str) -> Collection[str]:
    """Return the names of the callers."""
    return _callers(text).keys()


def with_allowed(text: str, name: str, allow: Sequence[Allow]) -> str:
    """Add to what a caller may have: to an entry of the same profile and tenants, or as a new one behind the others.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    held = _entry(text, name).get("allow")
    if held is None:
        return _with_line(text, name, "allow", f"[{', '.join(map(_inline, allow))}]")
    wanted = [dict(each) for each in held]

    def edit(entry: Any) -> None:  # noqa: ANN401  # tomlkit has no better type for a table
        for added in allow:
            found = next((index for index, each in enumerate(wanted) if _is_like(each, added)), None)
            if found is not None:
                wanted[found]["scopes"] = [*wanted[found]["scopes"], *added.scopes]
                entry["allow"][found]["scopes"].extend(added.scopes)
                continue
            made = f"x = {_inline(added)}"
            wanted.append(tomllib.loads(made)["x"])
            if isinstance(entry["allow"], AoT):
                raise CannotEdit(BY_HAND)  # it would stand behind the comments of the next caller
            entry["allow"].append(tomlkit.parse(made)["x"])

    return _with_entry(text, name, edit, lambda entry: entry.update(allow=wanted))


def without_scopes(text: str, name: str, scopes: Collection[str]) -> str:
    """Take scopes from what a caller may have; an entry without a scope goes too, and never stays as an empty list.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    held = iter(_entry(text, name).get("allow", []))
    drop = partial(_drop_emptied, scopes=scopes)
    document: Any = _parsed(text)
    if isinstance(document["callers"][name].get("allow"), AoT):
        # tomlkit would take the comments behind a table with it.
        text = _without_sections(
            text,
            lambda header: (
                _is_head(header, {"callers": {name: {"allow": [{}]}}}) and set(next(held)["scopes"]) <= set(scopes)
            ),
            lambda table: drop(table["callers"][name]),
        )
    else:
        text = _with_entry(text, name, drop, drop)
    take = partial(_take_scopes, scopes=scopes)
    return _with_entry(text, name, take, take)


def with_values(text: str, name: str, values: Mapping[str, Value | None]) -> str:
    """Set keys of an entry; None takes one out.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    for key, value in values.items():
        if value is not None and key not in _entry(text, name):
            text = _with_line(text, name, key, tomlkit.item(value).as_string())
            continue

        def edit(entry: Any, key: str = key, value: Value | None = value) -> None:  # noqa: ANN401  # as above
            if value is None:
                entry.pop(key, None)
            else:
                entry[key] = value

        text = _with_entry(text, name, edit, edit)
    return text


def generation_of(text: str) -> int:
    """Return the generation of a document; 1 where it has none."""
    generation: int = tomllib.loads(text).get("generation", 1)
    return generation


def with_generation(text: str, generation: int) -> str:
    """Set the generation of a document.

    Raises:
        CannotEdit: only a person can edit the document.
    """
    if "generation" not in tomllib.loads(text):
        after = f"generation = {generation}\n{text}"
    else:
        document = _parsed(text)
        document["generation"] = generation
        after = tomlkit.dumps(document)
    return _checked(text, after, lambda table: table.update(generation=generation))


def _with_entry(text: str, name: str, edit: Callable[[Any], object], expect: Callable[[dict[str, Any]], object]) -> str:
    """Edit an entry that is there; the same is expected of what a parser makes of it."""
    _entry(text, name)
    document: Any = _parsed(text)
    edit(document["callers"][name])
    return _checked(text, tomlkit.dumps(document), lambda table: expect(table["callers"][name]))


def _with_line(text: str, name: str, key: str, value: str) -> str:
    """Add a key at the end of an entry, before the comments of what comes next."""
    _entry(text, name)
    lines = text.splitlines(keepends=True)
    headers = [*_headers(lines), len(lines)]
    start = next((index for index in headers[:-1] if _is_head(lines[index], {"callers": {name: {}}})), None)
    if start is None:
        raise CannotEdit(BY_HAND)
    end = headers[headers.index(start) + 1]
    while end > start + 1 and not lines[end - 1].split("#")[0].strip():
        end -= 1
    lines[end - 1] = lines[end - 1].rstrip("\n") + "\n"
    lines.insert(end, f"{key} = {value}\n")
    made = tomllib.loads(f"{key} = {value}")
    return _checked(text, "".join(lines), lambda table: table["callers"][name].update(made))


def _drop_emptied(entry: Any, *, scopes: Collection[str]) -> None:  # noqa: ANN401  # of tomlkit or of tomllib
    """Take out the parts of `allow` that list nothing but these scopes, and `allow` itself where it is empty then."""
    held = entry.get("allow", [])
    for index in reversed(range(len(held))):
        if set(held[index]["scopes"]) <= set(scopes):
            del held[index]
    if not held:
        entry.pop("allow", None)


def _take_scopes(entry: Any, *, scopes: Collection[str]) -> None:  # noqa: ANN401  # of tomlkit or of tomllib
    for each in entry.get("allow", []):
        for index in reversed(range(len(each["scopes"]))):
            if each["scopes"][index] in scopes:
                del each["scopes"][index]


def _without_sections(text: str, is_own: Callable[[str], bool], expect: Callable[[dict[str, Any]], object]) -> str:
    """Take out the tables whose header is meant; comments above and below them stay."""
    lines = text.splitlines(keepends=True)
    headers = [*_headers(lines), len(lines)]
    own = [(start, end) for start, end in itertools.pairwise(headers) if is_own(lines[start])]
    for start, end in reversed(own):
        body = end
        if end not in {start for start, _ in own}:  # what stands before the next entry is of that
            while body > start + 1 and not lines[body - 1].split("#")[0].strip():
                body -= 1
        del lines[start:body]
    return _checked(text, "".join(lines), expect)


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError:
        raise CannotEdit(BY_HAND) from None


def _entry(text: str, name: str) -> dict[str, Any]:
    callers = _callers(text)
    if name not in callers:
        raise CannotEdit(f"has no caller {name}")
    entry: dict[str, Any] = callers[name]
    return entry


def _is_like(entry: Mapping[str, Any], added: Allow) -> bool:
    return (entry["profile"], tuple(entry.get("tenants", ()))) == (added.profile, added.tenants)


def _headers(lines: Sequence[str]) -> list[int]:
    return [index for index, line in enumerate(lines) if line.lstrip().startswith("[")]


def _callers(text: str) -> dict[str, Any]:
    callers: dict[str, Any] = tomllib.loads(text).get("callers", {})
    return callers


def _checked(before: str, after: str, expect: Callable[[dict[str, Any]], object]) -> str:
    wanted = {"callers": {}} | tomllib.loads(before)
    expect(wanted)
    try:
        made = {"callers": {}} | tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        made = None
    if made != wanted:
        raise CannotEdit(BY_HAND)
    return after


def _is_of(header: str, name: str) -> bool:
    """Return whether a header is that of a caller, or of a table within its entry."""
    try:
        table = tomllib.loads(header.strip().replace("[[", "[").replace("]]", "]"))
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(table.get("callers"), dict) and name in table["callers"]


def _is_head(header: str, table: Mapping[str, Any]) -> bool:
    """Return whether a header is that of exactly this table."""
    try:
        return tomllib.loads(header.strip()) == table
    except tomllib.TOMLDecodeError:
        return False


def _inline(entry: Allow) -> str:
    tenants = f", tenants = {json.dumps(list(entry.tenants))}" if entry.tenants else ""
    return f"{{ profile = {json.dumps(entry.profile)}, scopes = {json.dumps(list(entry.scopes))}{tenants} }}"
