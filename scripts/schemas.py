"""`make schemas`: write the contracts of docs/, each from the one place that decides it.

An editor checks vend.toml and callers.toml by their schemas. A client of vend is made from the OpenAPI document. A log
reader knows by a schema what each event holds. Pages are written by hand but for the tables between two comments. A
test fails while a file is not what this script makes.
"""

import dataclasses
import json
import re
import types
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from scripts.event_schema import event_schema
from scripts.event_tables import event_tables
from scripts.figures import figures
from scripts.openapi import openapi
from scripts.page_tables import entra_numbers, limits, vault_codes, with_tables
from shared.core.documents.callers import CallersFile
from shared.core.documents.settings import Settings
from shared.core.documents.table import LARGEST, kinds_of

ROOT = Path(__file__).parents[1]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
CONFIGURATION = "docs/configuration.md"

type Schema = dict[str, Any]

_SCALARS: Mapping[type, Schema] = types.MappingProxyType(
    {
        str: {"type": "string"},
        bool: {"type": "boolean"},
        int: {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST},
        float: {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        # JSON has no dates: editors hand on what stands in the TOML, with or without an offset.
        datetime: {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}"},
    }
)
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_ROW = re.compile(r"^\| `(?:\[+(?P<table>[^]]+)\]+)? ?(?P<key>\w*)` \|[^|]*\| (?P<meaning>.+) \|$", re.MULTILINE)


def documents() -> Mapping[str, str]:
    """Make every file: its text, by its name in docs/."""
    page = with_tables((ROOT / CONFIGURATION).read_text(), limits())
    made: Mapping[str, Schema] = {
        "vend.schema.json": file_schema(Settings, "vend.toml", page, variables=True),
        "callers.schema.json": file_schema(CallersFile, "callers.toml", page, variables=False),
        "events.schema.json": {"$schema": DIALECT, **event_schema()},
        "openapi.json": openapi(),
    }
    return {
        **{name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in made.items()},
        CONFIGURATION.removeprefix("docs/"): page,
        **{
            name: with_tables((ROOT / "docs" / name).read_text(), tables)
            for name, tables in {
                "operations.md": event_tables(),
                "errors.md": {**entra_numbers(), **vault_codes()},
                "comparison.md": figures(),
            }.items()
        },
    }


def file_schema(shape: type, title: str, page: str, *, variables: bool) -> Schema:
    """Describe a TOML file by the dataclass that it is read into.

    Args:
        shape: the dataclass.
        title: name of the file, and of its section in the page.
        page: Markdown; its tables say what each key means.
        variables: a string of it may hold `${NAME}`, and is then anything at all.
    """
    writer = _Writer(meanings(page, title), variables=variables)
    return {"$schema": DIALECT, "title": title, **writer.table(shape, at="", given=())}


def meanings(page: str, section: str) -> Mapping[str, str]:
    """Read what a section of the page says of each key, by its dotted key.

    A row that names no table goes on with the one above it, as a reader does.
    """
    text = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found, table = {}, ""
    for row in _ROW.finditer(text):
        table = row["table"] or table
        found[".".join(part for part in (table, row["key"]) if part)] = row["meaning"]
    return found


class _Writer:
    """Turns the types of a dataclass into JSON Schema, as `shared/core/documents/table.py` reads them."""

    def __init__(self, meanings: Mapping[str, str], *, variables: bool) -> None:
        self._meanings = meanings
        self._variables = variables

    def table(self, shape: type, *, at: str, given: tuple[str, ...]) -> Schema:
        """Describe a table; the fields that are `given` do not come from it."""
        hints = get_type_hints(shape)
        fields = [field for field in dataclasses.fields(shape) if field.name not in given]
        properties = {
            field.name: _why(field)
            | self._value(hints[field.name], at=f"{at}.{field.name}".lstrip("."))
            | _default(field)
            for field in fields
        }
        required = [field.name for field in fields if _is_required(field)]
        return {
            "type": "object",
            **self._meaning(at, (shape.__doc__ or "").partition("\n")[0]),
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    def _kind(self, kind: str, shape: type, *, at: str) -> Schema:
        """Describe a table of which the key `type` says what it is."""
        made = self.table(shape, at=at, given=())
        tag: Schema = {"enum": [kind]}
        tag = {**({"anyOf": [tag, _VARIABLE]} if self._variables else tag), **self._meaning(f"{at}.type")}
        return {
            **made,
            "properties": {"type": tag, **made["properties"]},
            "required": ["type", *made.get("required", [])],
        }

    def _value(self, hint: Any, *, at: str) -> Schema:  # noqa: ANN401  # a type form
        origin, inner = get_origin(hint), [part for part in get_args(hint) if part is not types.NoneType]
        if origin is types.UnionType:  # TOML has no null, so what is there is one of the others
            arms = [self._value(part, at=at) for part in inner]
            return arms[0] if len(arms) == 1 else {"anyOf": arms, **self._meaning(at)}
        if origin is tuple:
            return {"type": "array", "minItems": 1, **self._meaning(at), "items": self._value(inner[0], at=f"{at}[]")}
        if origin is Mapping:
            named = any(field.name == "name" for field in dataclasses.fields(inner[1]))
            item = self.table(inner[1], at=f"{at}.NAME", given=("name",) if named else ())
            return {"type": "object", **self._meaning(at), "additionalProperties": item}
        if kinds := kinds_of(hint):
            arms = [self._kind(kind, shape, at=at) for kind, shape in kinds.items()]
            return arms[0] if len(arms) == 1 else {"anyOf": arms, **self._meaning(at)}
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self.table(hint, at=at, given=())
        if issubclass(hint, StrEnum):
            choice = {"enum": [str(item) for item in hint]}
            return {**({"anyOf": [choice, _VARIABLE]} if self._variables else choice), **self._meaning(at)}
        return {**_SCALARS[hint], **self._meaning(at)}

    def _meaning(self, at: str, otherwise: str = "") -> Schema:
        text = self._meanings.get(at.replace("[]", ""), otherwise)
        return {"description": text} if text else {}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _why(field: dataclasses.Field[Any]) -> Schema:
    return {"description": field.metadata["why"]} if "why" in field.metadata else {}


def _default(field: dataclasses.Field[Any]) -> Schema:
    """Say what a key that is left out means; a table that is left out means the defaults of its own keys."""
    default = field.default
    # An empty list is a mistake, so the list that is left out has no value to show.
    if default in (None, (), dataclasses.MISSING) or dataclasses.is_dataclass(default):
        return {}
    return {"default": list(default) if isinstance(default, tuple) else default}


def main() -> None:
    """Write the files that have changed, and name them."""
    for name, text in documents().items():
        path = ROOT / "docs" / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(ROOT))  # noqa: T201  # says what it did


if __name__ == "__main__":
    main()
