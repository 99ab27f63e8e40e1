"""The files that a host keeps between two runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def replace_json(path: Path, document: Mapping[str, object]) -> None:
    """Replace a JSON file whole, so that a reader never sees half of it; only its owner may read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)
