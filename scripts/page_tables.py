"""Tables in a page that derive from code: each stands between two comments."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, astuple, fields
from typing import Any

from shared.adapters.key_vault import REMEDIES, RIGHTS, SECRET_RIGHTS, WITHOUT_RIGHTS
from shared.core.entra.aadsts import known_codes, meaning
from shared.core.limits import Limits, bounds

_UNITS = {"seconds": "s", "bytes": "bytes", "per_minute": "a minute"}
"""By how the name of a limit ends; any other has none."""
_LIMIT = re.compile(rf"\b(?:{'|'.join(each.name for each in fields(Limits))})\b")


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """Return the page with each table, by the name in its first comment, as it is made now."""
    for name, table in tables.items():
        begin, end = f"<!-- make schemas: {name} -->\n\n", "\n<!-- end -->\n"
        before, rest = page.split(begin)
        _, after = rest.split(end, maxsplit=1)
        page = before + begin + table + end + after
    return page


def table(*head: str, rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table of Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def entra_numbers() -> Mapping[str, str]:
    """Make the table of Entra's numbers, by their size, under the name that searches find."""
    rows = [(f"AADSTS{code}", *known) for code in sorted(known_codes()) if (known := meaning(code))]
    return {"numbers": table("number", "means", "do this", rows=rows)}


_FOR_SECRETS = 'For a credential of type `secret`, and also for a certificate with `signing = "local"`'


def vault_codes() -> Mapping[str, str]:
    """Make the table of Key Vault's codes; a code of missing rights has one remedy for each kind of credential."""
    rows = [
        *REMEDIES.items(),
        *((code, f"For a certificate, {RIGHTS}. {_FOR_SECRETS}, {SECRET_RIGHTS}") for code in WITHOUT_RIGHTS),
    ]
    return {"vault codes": table("code", "do this", rows=[(f"`{code}`", remedy) for code, remedy in sorted(rows)])}


def limits() -> Mapping[str, str]:
    """Make the tables of `[limits]`, one for each subject."""
    knobs = [(knob, value) for knob, value in zip(fields(Limits), astuple(Limits()), strict=True)]
    return {
        f"limits of {subject}": _limits([(knob, value) for knob, value in knobs if knob.metadata["of"] == subject])
        for subject in dict.fromkeys(knob.metadata["of"] for knob, _ in knobs)
    }


def _limits(knobs: Sequence[tuple[Field[Any], float]]) -> str:
    """Make one of the tables. It has a column for rules between limits if there are any."""
    rules = [_rule(knob.name) for knob, _ in knobs]
    columns = 4 if any(rules) else 3
    rows = [
        (f"`{knob.name}`", _with_unit(knob.name, value), knob.metadata["why"], rule)[:columns]
        for (knob, value), rule in zip(knobs, rules, strict=True)
    ]
    return table(*("key", "default", "meaning", "must also be")[:columns], rows=rows)


def _with_unit(name: str, value: float) -> str:
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    return f"{value} {unit}".rstrip()


def _rule(name: str) -> str:
    return _LIMIT.sub(r"`\g<0>`", ", ".join(bounds(name)))
