import ssl
from collections.abc import Iterator

import httpx
import pytest

from emulator.cloud import REGION, LocalCloud
from emulator.network.proxy import ForwardProxy
from emulator.network.serve import HOST
from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID

DOMAIN = "vend.test"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A cloud whose parts have names that no resolver knows."""
    with LocalCloud(tmp_path_factory.mktemp("named"), domain=DOMAIN) as cloud:
        yield cloud


@pytest.fixture
def proxy(named: LocalCloud) -> Iterator[ForwardProxy]:
    """The way to it."""
    with ForwardProxy(named.names) as proxy:
        yield proxy


@pytest.fixture
def through(named: LocalCloud, proxy: ForwardProxy) -> Iterator[httpx.Client]:
    """A client that goes through the proxy and believes the certificates."""
    trust = ssl.create_default_context(cafile=named.ca_file)
    with httpx.Client(proxy=proxy.url, verify=trust, trust_env=False) as client:
        yield client


def test_the_proxy_alone_knows_the_names(named: LocalCloud, proxy: ForwardProxy, through: httpx.Client) -> None:
    """Every part is reached by its name, with a certificate for it; the proxy says what it was asked for."""
    keys = through.get(f"{named.authority}/{TENANT_ID}/discovery/v2.0/keys")
    vault = through.get(f"{named.vault_url}/certificates", params={"api-version": "7.6"})
    with pytest.raises(httpx.ProxyError, match="502"):
        through.get("https://login.elsewhere.test/")

    assert (keys.status_code, vault.status_code) == (200, 401)
    assert named.authority in vault.headers["www-authenticate"]
    assert proxy.tunnels == [f"login.{DOMAIN}:443", f"vault.{DOMAIN}:443", "login.elsewhere.test:443"]


def test_a_regional_endpoint_is_not_for_everyone(named: LocalCloud, through: httpx.Client) -> None:
    """A region before the host of the authority is refused with 100007, unless the directory opens it."""
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": named.directory.add_secret(CLIENT_ID, lifetime=600),
        "scope": f"{GRAPH}/.default",
    }
    url = f"https://{REGION}.login.{DOMAIN}/{TENANT_ID}/oauth2/v2.0/token"

    refused = through.post(url, data=form)
    named.entra.regional = True
    issued = through.post(url, data=form)

    assert (refused.status_code, refused.json()["error_codes"]) == (400, [100007])
    assert issued.status_code == 200
    assert [seen.host for seen in named.entra.requests] == [f"{REGION}.login.{DOMAIN}"] * 2


def test_the_region_of_a_plain_local_cloud_has_its_certificate(cloud: LocalCloud, trust: ssl.SSLContext) -> None:
    """Where the system resolves names under localhost, a region works without a proxy; here the name is only sent."""
    port = httpx.URL(cloud.authority).port
    region = f"{REGION}.localhost"
    with httpx.Client(verify=trust, trust_env=False) as client:
        answer = client.post(
            f"https://{HOST}:{port}/{TENANT_ID}/oauth2/v2.0/token",
            headers={"Host": f"{region}:{port}"},
            extensions={"sni_hostname": region},
        )

    assert answer.json()["error_codes"] == [100007]
