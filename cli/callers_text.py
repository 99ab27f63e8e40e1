"""Edits the text of the callers document: what was there stays as it was, comments and order too.

Each edit is checked by what a TOML parser makes of the text before and after: nothing else has changed.
"""

import itertools
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import tomlkit

from shared.core.policy import Allow

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


class CannotEdit(Exception):
    """It cannot be edited so; the text says what it is or has."""


def with_caller(text: str, name: str, *, digest: str, allow: Sequence[Allow]) -> str:
    """Add an entry behind all others.

    Raises:
        CannotEdit: there is such a caller, or only a person can edit the document.
    """
    if name in _callers(text):
        raise CannotEdit(f"has a caller {name} already")
    entries = ", ".join(_inline(entry) for entry in allow)
    key = name if _BARE.match(name) else json.dumps(name)
    entry = f'[callers.{key}]\nkey_sha256 = ["{digest}"]\nallow = [{entries}]\n'

    def expect(table: dict[str, Any]) -> None:
        table["callers"][name] = tomllib.loads(entry)["callers"][name]

    return _checked(text, text.rstrip("\n") + "\n\n" + entry, expect)


def without_caller(text: str, name: str) -> str:
    """Take an entry out; comments above it and below it stay.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    if name not in _callers(text):
        raise CannotEdit(f"has no caller {name}")
    lines = text.splitlines(keepends=True)
    headers = [index for index, line in enumerate(lines) if line.lstrip().startswith("[")] + [len(lines)]
    own = [(start, end) for start, end in itertools.pairwise(headers) if _is_of(lines[start], name)]
    left = list(lines)
    for start, end in reversed(own):
        body = end
        if end not in {start for start, _ in own}:  # what stands before the next entry is of that
            while body > start + 1 and not lines[body - 1].split("#")[0].strip():
                body -= 1
        del left[start:body]
    return _checked(text, "".join(left), lambda table: table["callers"].pop(name))


def with_key(text: str, name: str, digest: str) -> str:
    """Give an entry one more key, behind those that it has.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    return _with_keys(text, name, lambda keys: [*keys, digest])


def with_last_key_alone(text: str, name: str) -> str:
    """Take all keys but the last from an entry.

    Raises:
        CannotEdit: there is no such caller, or only a person can edit the document.
    """
    return _with_keys(text, name, lambda keys: keys[-1:])


def _with_keys(text: str, name: str, choose: Callable[[list[str]], list[str]]) -> str:
    if name not in _callers(text):
        raise CannotEdit(f"has no caller {name}")
    wanted = choose(_callers(text)[name]["key_sha256"])
    document = tomlkit.parse(text)
    keys: Any = document["callers"][name]["key_sha256"]
    for digest in [digest for digest in keys if digest not in wanted]:
        keys.remove(digest)
    for digest in [digest for digest in wanted if digest not in keys]:
        keys.append(digest)

    def expect(table: dict[str, Any]) -> None:
        table["callers"][name]["key_sha256"] = wanted

    return _checked(text, tomlkit.dumps(document), expect)


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
        raise CannotEdit("is written in a way that only a person can edit")
    return after


def _is_of(header: str, name: str) -> bool:
    """Tell whether a header is that of a caller, or of a table within its entry."""
    try:
        table = tomllib.loads(header.strip().replace("[[", "[").replace("]]", "]"))
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(table.get("callers"), dict) and name in table["callers"]


def _inline(entry: Allow) -> str:
    tenants = f", tenants = {json.dumps(list(entry.tenants))}" if entry.tenants else ""
    return f"{{ profile = {json.dumps(entry.profile)}, scopes = {json.dumps(list(entry.scopes))}{tenants} }}"
