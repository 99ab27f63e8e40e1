"""The process that listens at a port of this machine, so that a message can name the one that is in the way."""

from pathlib import Path

import psutil


def holder(port: int) -> str:
    """Return the process that listens at a port, as `process 4711 (python -m emulator)`; "" where that is not known.

    A process of another user is not known.
    """
    for process in psutil.process_iter():
        try:
            if any(
                found.status == psutil.CONN_LISTEN and found.laddr.port == port
                for found in process.net_connections(kind="tcp")
            ):
                return f"process {process.pid} ({_short(process.cmdline())})"
        except psutil.Error:  # of another user, or ended since
            continue
    return ""


def _short(words: list[str]) -> str:
    """Write a command without its folders and without all of its options."""
    return " ".join([Path(words[0]).name, *words[1:5]]).strip()
