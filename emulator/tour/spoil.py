"""Situations of the files of a site: a callers document with a mistake or without one, and a host without its keys."""

from pathlib import Path

from emulator.host.keys import DEFAULT, KeyFile, Keys, generate
from emulator.rehearsals import Begin, End
from emulator.seed import ORDERS

NO_TOML = b"\n[callers\n"
NO_SCOPE = b"""
[callers.written-by-hand]
key_sha256 = ["5f41aeb1c5dd0e3ba4a3a1d4a0f21f4c4a7e6ef5d0c4c18b1f1f6d9a9b3c7e20"]
allow = [{ profile = "graph", scopes = ["User.Read.All"] }]
"""
TWO_GRANTS = f"""
[callers.granted-twice]
key_sha256 = ["a3c09be7d25f4b6d81c2e09f7d3b5a146e8f02c9d7b1a4e35c60f8d91b2e7a43"]
allow = [
  {{ profile = "orders", scopes = ["{ORDERS}/.default"] }},
  {{ profile = "orders", scopes = ["{ORDERS}/.default"] }},
]
""".encode()


def spoiled(document: Path, mistake: bytes) -> Begin:
    """Return the situation that somebody has saved a callers document with a mistake at its end.

    Other changes of the document stay, and so does a correction of the mistake.

    Raises:
        ValueError: when it begins, there is no document.
    """

    def begin() -> End:
        document.write_bytes(_read(document) + mistake)

        def end() -> None:
            if document.exists():
                document.write_bytes(_read(document).replace(mistake, b"", 1))

        return end

    return begin


def lost(document: Path) -> Begin:
    """Return the situation that a callers document is gone; at its end another one that came meanwhile stays.

    Raises:
        ValueError: when it begins, there is no document.
    """

    def begin() -> End:
        held = _read(document)
        document.unlink()

        def end() -> None:
            if not document.exists():
                document.write_bytes(held)

        return end

    return begin


def _read(document: Path) -> bytes:
    try:
        return document.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{document} is not there") from None


def lost_keys(file: KeyFile) -> Begin:
    """Return the situation that a host could not read its keys, and has made new ones for itself alone.

    At the end it has the former ones again, beside those that were made meanwhile.
    """

    def begin() -> End:
        before = file.read()
        file.write(Keys(generate(), {DEFAULT: generate()}, {}))

        def end() -> None:
            made = {name: key for name, key in file.read().functionKeys.items() if name != DEFAULT}
            file.write(Keys(before.master, {**before.functionKeys, **made}, before.functions))

        return end

    return begin
