"""`python -m benchmarks [--only SUBJECT]`: measure, show the table, and keep the results beside this file."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    directory,
    documents,
    end_to_end,
    first_token,
    handler,
    hit,
    identity,
    outage,
    package,
    refresh_window,
    report,
    stampede,
    strangers,
    uncached,
    valid_token_faults,
)
from benchmarks.rows import FULL, QUICK, Row, Scale

SUBJECTS: Mapping[str, Callable[[Scale], list[Row]]] = {
    "outage": outage.rows,
    "valid-token-faults": valid_token_faults.rows,
    "refresh-window": refresh_window.rows,
    "stampede": stampede.rows,
    "end-to-end": end_to_end.rows,
    "hit": hit.rows,
    "uncached": uncached.rows,
    "handler": handler.rows,
    "first-token": first_token.rows,
    "strangers": strangers.rows,
    "identity": identity.rows,
    "documents": documents.rows,
    "directory": directory.rows,
    "package": package.rows,
}


def main() -> None:
    """Run every subject, or one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(SUBJECTS), default=[], metavar="SUBJECT", help=", ".join(SUBJECTS)
    )
    parser.add_argument("--users", type=int, default=FULL.users, help="of the larger directory that is copied")
    parser.add_argument("--quick", action="store_true", help="only prove that they run: the figures mean nothing")
    parser.add_argument("--out", type=Path, help="folder for the results; needed with --quick")
    options = parser.parse_args()
    if options.quick and not options.out:
        parser.error("--quick needs --out: its figures must not replace real ones")
    out: Path = options.out or Path(__file__).parent
    for library in ("azure", "msal", "urllib3"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what they complain of is what is measured
    measured = {row.id: row for row in report.read(out) if options.only}
    for subject in options.only or SUBJECTS:
        sys.stdout.write(f"{subject} ...\n")
        sys.stdout.flush()
        found = SUBJECTS[subject](QUICK if options.quick else FULL._replace(users=options.users))
        measured |= {row.id: row for row in found}
        sys.stdout.write(report.table(found) + "\n\n")
    report.write(list(measured.values()), out)


if __name__ == "__main__":
    main()
