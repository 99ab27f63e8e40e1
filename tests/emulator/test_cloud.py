import ssl
from pathlib import Path

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.network.serve import listening_socket
from emulator.seed import TENANT_ID


def test_a_cloud_ends_whatever_its_parts_are_suffering(tmp_path: Path) -> None:
    """Leaving the block frees every port at once, also while connections are swallowed and a part refuses."""
    with LocalCloud(tmp_path) as cloud:
        port = httpx.URL(cloud.authority).port or 0
        cloud.faults["identity"].set(Fault(kind=Kind.REFUSE))
        cloud.faults["entra"].set(Fault(kind=Kind.BLACK_HOLE))
        trust = ssl.create_default_context(cafile=str(cloud.ca_file))
        with httpx.Client(verify=trust, timeout=0.1) as http, pytest.raises(httpx.ConnectTimeout):
            http.get(f"{cloud.authority}/{TENANT_ID}/discovery/keys")

    with listening_socket(port) as again:
        again.listen()


def test_a_cloud_that_cannot_have_its_port_starts_nothing(tmp_path: Path) -> None:
    """A taken port is an OSError, and the ports taken before it are free again."""
    with listening_socket() as taken, listening_socket() as free:
        taken.listen()
        first, second = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        with pytest.raises(OSError, match="in use"), LocalCloud(tmp_path, ports={"entra": first, "identity": second}):
            pass

        with listening_socket(first) as again:
            again.listen()
