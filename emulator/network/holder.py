"""Who listens at a port of this machine, so that a message can name the process that is in the way."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp: https://docs.kernel.org/networking/proc_net_tcp.html"""


def holder(port: int) -> str:
    """Return the process that listens at a port, as `process 4711 (python -m emulator)`; "" where that is not known.

    A process of another user is not known.
    """
    found = _by_proc(port) if PROC.is_dir() else _by_lsof(port)
    return f"process {found[0]} ({found[1]})" if found else ""


def _by_proc(port: int) -> tuple[int, str] | None:
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in PROC.glob("[0-9]*"):
        try:
            if any(str(each.readlink()) in wanted for each in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return int(process.name), _short(words)
        except OSError:  # of another user, or ended since
            continue
    return None


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *rest = line.split()
            if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield rest[5]


def _by_lsof(port: int) -> tuple[int, str] | None:
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    asked = [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603  # found on the PATH
    fields = {line[:1]: line[1:] for line in reversed(done.stdout.splitlines())}
    return (int(fields["p"]), fields.get("c", "")) if fields.get("p", "").isdigit() else None


def _short(words: list[str]) -> str:
    """Write a command without its folders and without all of its options."""
    return " ".join([Path(words[0]).name, *words[1:5]]).strip()
