"""Tables in a page that derive from code: each stands between two comments."""

from collections.abc import Iterable, Mapping

from shared.core.entra.aadsts import known_codes, meaning


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
