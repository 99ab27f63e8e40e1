"""The key management API of the host, which `az functionapp keys` and deployment tools call.

It changes the store alone: a running instance sees the change when its own cache reloads.
Source: https://github.com/Azure/azure-functions-host/wiki/Key-management-API
"""

import json
import re
from collections.abc import Collection
from typing import Any

from emulator.host.keys import KeyFile, generate

# The status and the JSON of the response; None sends no body.
type Outcome = tuple[int, dict[str, Any] | None]

HOST_KEYS = re.compile(r"/admin/host/(?:keys|functionkeys)(?:/(?P<name>[^/]+))?", re.IGNORECASE)
FUNCTION_KEYS = re.compile(r"/admin/functions/(?P<function>[^/]+)/keys(?:/(?P<name>[^/]+))?", re.IGNORECASE)


class KeyApi:
    """Lists, creates, sets and deletes keys, except the master key."""

    def __init__(self, file: KeyFile, functions: Collection[str]) -> None:
        self._file = file
        # The real host ignores the case of a function's name.
        self._functions = {name.lower(): name for name in functions}

    def has(self, path: str) -> bool:
        """Return whether a path is one of this API."""
        return bool(HOST_KEYS.fullmatch(path) or FUNCTION_KEYS.fullmatch(path))

    def answer(self, method: str, path: str, body: bytes) -> Outcome:
        """Answer one request, whose sender has presented the master key."""
        if asked := HOST_KEYS.fullmatch(path):
            return self._at(None, asked["name"], method, body)
        if asked := FUNCTION_KEYS.fullmatch(path):
            function = self._functions.get(asked["function"].lower())
            return self._at(function, asked["name"], method, body) if function else (404, None)
        return 404, None

    def _at(self, function: str | None, name: str | None, method: str, body: bytes) -> Outcome:
        if method == "GET":
            return self._show(function, name)
        if name is None or method not in {"POST", "PUT", "DELETE"}:
            return 405, None
        if name.startswith("_"):
            return 400, {"message": "Invalid key name."}
        if method == "DELETE":
            return self._delete(function, name)
        value = generate() if method == "POST" else _value(body)
        return self._set(function, name, value) if value else (400, {"message": "Invalid key value."})

    def _show(self, function: str | None, name: str | None) -> Outcome:
        held = self._file.read().scope(function)
        if name is None:
            return 200, {"keys": [{"name": each, "value": value} for each, value in held.items()]}
        return (200, {"name": name, "value": held[name]}) if name in held else (404, None)

    def _set(self, function: str | None, name: str, value: str) -> Outcome:
        is_new = self._file.set(function, name, value)
        return 201 if is_new else 200, {"name": name, "value": value}

    def _delete(self, function: str | None, name: str) -> Outcome:
        return 204 if self._file.delete(function, name) else 404, None


def _value(body: bytes) -> str | None:
    try:
        sent = json.loads(body)
    except ValueError:
        return None
    value = sent.get("value") if isinstance(sent, dict) else None
    return value if isinstance(value, str) else None
