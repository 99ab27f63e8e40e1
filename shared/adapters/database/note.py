"""Where the streams stand, as a note in the metadata of a blob: a reader of the note fetches no file."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict

from shared.core.directory.standing import StreamStanding

NOTE_BYTES = 7 * 1024
"""The longest note: the metadata of a blob are 8 KiB at the most. Dozens of tenants fit in."""
TEXT_BYTES = 256 * 1024
"""The longest text in a note."""


def write_note(standings: Sequence[StreamStanding]) -> str:
    """Return a note in ASCII; "" if there are too many standings for one."""
    text = json.dumps([asdict(standing) for standing in standings], separators=(",", ":"))
    note = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return note if len(note) <= NOTE_BYTES else ""


def read_note(note: str) -> list[StreamStanding] | None:
    """Return the standings in a note; None if it is none of this version's."""
    try:
        text = zlib.decompressobj().decompress(base64.b64decode(note, validate=True), TEXT_BYTES)
        return [StreamStanding(**each) for each in json.loads(text)]
    except (ValueError, TypeError, zlib.error):
        return None
