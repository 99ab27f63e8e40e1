"""Situations of the files of a site: a spoiled callers document, and a host that has lost its keys."""

from pathlib import Path

from emulator.host.keys import DEFAULT, KeyFile, Keys, generate
from emulator.rehearsals import Begin, End

MISTAKE = b"\n[callers\n"


def spoiled(document: Path) -> Begin:
    """Return the situation that somebody has saved a callers document with a mistake.

    Whoever has corrected it meanwhile keeps the correction.
    """

    def begin() -> End:
        good = document.read_bytes()
        document.write_bytes(good + MISTAKE)

        def end() -> None:
            if document.read_bytes() == good + MISTAKE:
                document.write_bytes(good)

        return end

    return begin


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
