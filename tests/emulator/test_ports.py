"""Where a local run listens, and what it says where it cannot."""

import os
import socket
from pathlib import Path

import pytest

from emulator.__main__ import main
from emulator.cloud import LocalCloud
from emulator.network.holder import holder
from emulator.network.serve import HOST, listening_socket
from emulator.tour.ports import LENGTH, Ports, serving, write_addresses


@pytest.fixture
def taken() -> socket.socket:
    """A socket of this process that listens."""
    sock = listening_socket()
    sock.listen()
    return sock


def test_the_process_in_the_way_is_named(taken: socket.socket) -> None:
    """FND-E15. By its id and its command: a run that was killed may have left one behind. A free port has none."""
    port = taken.getsockname()[1]
    with taken:
        assert holder(port).startswith(f"process {os.getpid()} (")
    assert holder(port) == ""


def test_a_run_whose_port_is_taken_starts_nothing(taken: socket.socket) -> None:
    """The message has the port, the process and the way out."""
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["--cloud", "--port", str(port - 1)])
    first, second = str(ended.value.code).splitlines()
    assert first.startswith(f"Port {port} on {HOST} is taken by process {os.getpid()} (")
    assert second.endswith("make run PORT=9000")


def test_a_row_of_ports_begins_with_the_app() -> None:
    """Each part has one of its own, and none lies outside."""
    ports = Ports.following(9000)
    assert ports.app == 9000
    assert sorted(ports.parts.values()) == list(range(9001, 9000 + LENGTH))


@pytest.mark.parametrize("port", ["80", "x", "65530"])
def test_a_port_from_which_no_row_fits_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the range that fits."""
    with pytest.raises(SystemExit):
        main(["--port", port])
    assert "must be a number, 1024 to" in capsys.readouterr().err


def test_a_second_run_of_one_clone_is_noticed(cloud: LocalCloud, tmp_path: Path) -> None:
    """Else it would take the files of the first one away. What a killed run has left is none."""
    assert serving(tmp_path) is None
    write_addresses(tmp_path, cloud, app="http://127.0.0.1:7071")
    assert serving(tmp_path) == "http://127.0.0.1:7071"
    (tmp_path / "addresses.json").write_text('{"control": "http://127.0.0.1:1024"}')
    assert serving(tmp_path) is None
