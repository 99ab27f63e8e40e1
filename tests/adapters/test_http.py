import asyncio
import ssl
from contextlib import nullcontext
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.ca import CertificateAuthority
from emulator.network.faults import Fault, Kind
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.core.documents.toml import DocumentError
from shared.core.errors import BadAnswer, OperatorError, TimedOut, TlsRefused, Unavailable, VendError
from shared.core.limits import Limits
from shared.core.reply import Reply

LIMIT = 4_096
# Half a second stands for the eight of production: the limits are settings.
ATTEMPT_SECONDS = 0.5
LIMITS = Limits(
    connect_seconds=ATTEMPT_SECONDS / 3,
    read_idle_seconds=ATTEMPT_SECONDS,
    attempt_seconds=ATTEMPT_SECONDS,
    upstream_body_bytes=LIMIT,
)


def send(cloud: LocalCloud, *, ca_file: Path | None = None, proxy: str = "") -> Reply:
    """Post an empty form to the local Entra, whatever it may do."""

    async def post() -> Reply:
        network = Network(tls=client_tls(read_roots(str(ca_file or cloud.ca_file))), proxy=proxy, limits=LIMITS)
        try:
            entra = network.upstream("Entra", exactly(cloud.authority))
            return await entra.post(f"{cloud.authority}/contoso/oauth2/v2.0/token", b"", headers={})
        finally:
            await network.aclose()

    return asyncio.run(post())


@pytest.mark.parametrize(
    ("fault", "meaning", "cause"),
    [
        (Fault(kind=Kind.REFUSE), Unavailable, "Entra: no connection"),
        (Fault(kind=Kind.CUT, after_bytes=0), Unavailable, "Entra: broken connection"),
        (Fault(kind=Kind.CUT, after_bytes=40), Unavailable, "Entra: broken connection"),
        (Fault(kind=Kind.BLACK_HOLE), TimedOut, "Entra: timeout"),
        (Fault(kind=Kind.DELAY, seconds=60), TimedOut, "Entra: timeout"),
        # A byte every 50 ms never lets the idle timeout run out; the deadline of the attempt does not care.
        (Fault(kind=Kind.DRIP, bytes_per_second=20), TimedOut, "Entra: timeout"),
        (Fault(kind=Kind.STATUS, status=200, body="x" * (LIMIT + 1)), BadAnswer, "Entra: answer too large"),
        (Fault(kind=Kind.ENDLESS), BadAnswer, "Entra: answer too large"),  # which has no Content-Length
        (
            Fault(kind=Kind.STATUS, status=200, headers={"content-encoding": "gzip"}, body="x"),
            BadAnswer,
            "Entra: compressed answer",
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_a_failure_of_the_network_has_a_meaning(
    cloud: LocalCloud, fault: Fault, meaning: type[VendError], cause: str
) -> None:
    """REL-01, 02, 11, 12: refused, reset, silent, slow, too large: each is one of our errors, and nothing else."""
    cloud.faults["entra"].set(fault)
    try:
        with pytest.raises(meaning) as failure:
            send(cloud)
    finally:
        cloud.faults["entra"].clear()
    assert type(failure.value) is meaning
    assert failure.value.cause == cause
    # The original holds request and answer.
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None


def test_a_redirect_is_an_answer_like_any_other(cloud: LocalCloud) -> None:
    """REL-16: nobody is sent anywhere else with what was meant for Entra."""
    fault = Fault(kind=Kind.STATUS, status=307, headers={"location": f"{cloud.authority}/elsewhere"})
    cloud.faults["entra"].set(fault)
    before = cloud.faults["entra"].taken
    try:
        assert send(cloud).status == 307
    finally:
        cloud.faults["entra"].clear()
    assert cloud.faults["entra"].taken == before + 1


def test_a_stranger_s_certificate_is_for_the_operator(cloud: LocalCloud, tmp_path: Path) -> None:
    """REL-21: a peer that cannot prove its name gets nothing, and no retry will change that."""
    stranger = CertificateAuthority().write(tmp_path)
    with pytest.raises(TlsRefused) as failure:
        send(cloud, ca_file=stranger)
    assert failure.value.cause == "Entra: TLS failed"


class Peer:
    """A server on this host that answers each connection once, and lists the first lines of the requests."""

    def __init__(self, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.partition(b"\r\n")[0].decode())
        writer.write(self._answer)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("name", "refused"), [("localhost", None), ("login.vend.test", TlsRefused)])
def test_a_certificate_is_for_the_name_that_was_asked(
    name: str, refused: type[TlsRefused] | None, tmp_path: Path
) -> None:
    """REL-21, FND-H9: one of an authority that `network.ca_file` names is good for its own names alone."""
    authority, peer = CertificateAuthority(), Peer()
    tls = client_tls(read_roots(str(authority.write(tmp_path))))

    async def story() -> None:
        certificate = authority.server_context(name)
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=certificate) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            network = Network(tls=tls, proxy="", limits=LIMITS)
            try:
                with pytest.raises(refused) if refused else nullcontext():
                    await network.upstream("Entra", exactly(url)).get(f"{url}/x", headers={})
            finally:
                await network.aclose()

    asyncio.run(story())
    assert peer.asked == ([] if refused else ["GET /x HTTP/1.1"])


@pytest.mark.parametrize(
    ("host", "proxied", "asked"),
    [("127.0.0.2", True, True), ("127.0.0.2", False, False), ("127.0.0.1", True, False), ("localhost", True, False)],
)
def test_what_goes_through_the_proxy(host: str, *, proxied: bool, asked: bool) -> None:
    """REL-22: everything but loopback, and but what is never proxied; 127.0.0.2 stands for a host elsewhere."""
    peer = Peer()

    async def story() -> None:
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
            proxy, url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", f"http://{host}:9"
            network = Network(tls=client_tls(""), proxy=proxy, limits=LIMITS)
            upstream = network.upstream("Entra", exactly(url), proxied=proxied)
            try:
                with nullcontext() if asked else pytest.raises(Unavailable):
                    await upstream.get(f"{url}/x", headers={})
            finally:
                await network.aclose()

    asyncio.run(story())
    assert peer.asked == (["GET http://127.0.0.2:9/x HTTP/1.1"] if asked else [])


@pytest.mark.parametrize(
    ("asked", "fault", "cause"),
    [
        ("{}/x", "a fault", "Entra: a fault"),
        ("ftp://127.0.0.1/x", "", "Entra: the address is not one of this service"),
        ("http://user@127.0.0.1/x", "", "Entra: the address is not one of this service"),
        ("/x", "", "Entra: the address is not one of this service"),
    ],
    ids=["a service that may not be asked", "another scheme", "a user", "no origin"],
)
def test_what_may_not_be_asked_is_sent_nothing(asked: str, fault: str, cause: str) -> None:
    """FND-A2, FND-D3: though the rule allows every origin."""
    peer = Peer()

    async def story() -> None:
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            network = Network(tls=client_tls(""), proxy="", limits=LIMITS)
            with pytest.raises(OperatorError) as caught:
                await network.upstream("Entra", lambda _: True, fault=fault).get(asked.format(url), headers={})
            assert caught.value.cause == cause
            await network.aclose()

    asyncio.run(story())
    assert peer.asked == []


@pytest.mark.parametrize(("most", "refused"), [(10, False), (9, True)])
def test_an_answer_has_the_bound_of_its_request(most: int, *, refused: bool) -> None:
    """FND-B6: where a request names one, it counts, smaller or larger than that of the settings."""
    peer = Peer(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789")

    async def story() -> None:
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            network = Network(tls=client_tls(""), proxy="", limits=LIMITS)
            with pytest.raises(BadAnswer) if refused else nullcontext():
                await network.upstream("Entra", exactly(url)).get(url, headers={}, body_bytes=most)
            await network.aclose()

    asyncio.run(story())


def test_the_roots_of_the_machine_are_trusted_and_those_of_the_settings_too(tmp_path: Path) -> None:
    """REL-21: `network.ca_file` adds its certificates."""
    machine = ssl.create_default_context().cert_store_stats()["x509_ca"]
    ours = read_roots(str(CertificateAuthority().write(tmp_path)))
    assert [client_tls(roots).cert_store_stats()["x509_ca"] for roots in ("", ours)] == [machine, machine + 1]


def test_only_the_setting_names_a_proxy(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """REL-22: a proxy in the environment is ignored, and loopback is not sent through one that is set."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(cloud).status == 400
    assert send(cloud, proxy="http://127.0.0.1:9").status == 400


@pytest.mark.parametrize(
    "text", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_ca_file_without_certificates_is_a_mistake(text: str | None, tmp_path: Path) -> None:
    """REL-48: `network.ca_file` is named by its key, whether the file is missing, empty or something else."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DocumentError) as caught:
        read_roots(str(file))
    assert caught.value.mistakes == ["network.ca_file: is no file of PEM certificates"]
