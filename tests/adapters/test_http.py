import asyncio
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.ca import CertificateAuthority
from emulator.network.faults import Fault, Kind
from shared.adapters.http import HttpClient, client_tls, read_roots
from shared.core.documents.toml import DocumentError
from shared.core.errors import BadAnswer, TimedOut, TlsRefused, Unavailable, VendError
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
        async with HttpClient(
            tls=client_tls(read_roots(str(ca_file or cloud.ca_file))),
            proxy=proxy,
            limits=LIMITS,
        ) as client:
            return await client.post(f"{cloud.authority}/contoso/oauth2/v2.0/token", b"", headers={})

    return asyncio.run(post())


@pytest.mark.parametrize(
    ("fault", "meaning", "cause"),
    [
        (Fault(kind=Kind.REFUSE), Unavailable, "no connection"),
        (Fault(kind=Kind.CUT, after_bytes=0), Unavailable, "broken connection"),
        (Fault(kind=Kind.CUT, after_bytes=40), Unavailable, "broken connection"),
        (Fault(kind=Kind.BLACK_HOLE), TimedOut, "timeout"),
        (Fault(kind=Kind.DELAY, seconds=60), TimedOut, "timeout"),
        # A byte every 50 ms never lets the idle timeout run out; the deadline of the attempt does not care.
        (Fault(kind=Kind.DRIP, bytes_per_second=20), TimedOut, "timeout"),
        (Fault(kind=Kind.STATUS, status=200, body="x" * (LIMIT + 1)), BadAnswer, "answer too large"),
        (
            Fault(kind=Kind.STATUS, status=200, headers={"content-encoding": "gzip"}, body="x"),
            BadAnswer,
            "compressed answer",
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
    assert failure.value.cause == "TLS with upstream did not come about"


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
