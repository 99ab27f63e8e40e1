"""Where the app's own tokens may go."""

import pytest

from shared.core.entra.clouds import CLOUDS
from shared.core.origins import URL_LENGTH, Origin, origin_of


@pytest.mark.parametrize(
    ("cloud", "url", "fault"),
    [
        ("public", "https://vend.vault.azure.net", ""),
        ("public", "https://VEND.vault.azure.net:443/", ""),
        ("china", "https://vend.vault.azure.cn", ""),
        ("usgov", "https://vend.vault.usgovcloudapi.net", ""),
        ("public", "https://vend.vault.azure.cn", "is not in the cloud's vault domain"),
        ("china", "https://vend.vault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://vend.vault.azure.net:8443", "is not in the cloud's vault domain"),
        ("public", "https://vend.vault.azure.net.evil.example", "is not in the cloud's vault domain"),
        ("public", "https://evil.example/.vault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://evilvault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://vendxvault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://vend.vaultxazure.net", "is not in the cloud's vault domain"),
        ("public", "https://a.b.vault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://ab.vault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://vault.azure.net", "is not in the cloud's vault domain"),
        ("public", "https://vend.privatelink.vaultcore.azure.net", "is a private-link name"),
        ("public", "https://vend.managedhsm.azure.net", "is a Managed HSM"),
        ("public", "http://vend.vault.azure.net", "is no https URL"),
        ("public", "https://vend.vault.azure.net@evil.example", "is no https URL"),
        ("public", "https://vend.vault.azure.net\\@evil.example", "is no https URL"),
    ],
)
def test_a_vault_is_in_the_domain_of_its_cloud(cloud: str, url: str, fault: str) -> None:
    """FND-A1, FND-D3: a token of the app's own goes to a vault of this cloud, by its public name, and nowhere else."""
    found = CLOUDS[cloud].vault_fault(url)
    assert found.startswith(fault) if fault else found == ""


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://vend.blob.core.windows.net/c/callers.toml", ""),
        ("https://vend.z12.blob.storage.azure.net/c/callers.toml", ""),
        ("https://vend.z123.blob.storage.azure.net/c/callers.toml", "is not in the cloud's storage domain"),
        ("https://vend.z12.blob.storage.azure.net.evil.example/c/x", "is not in the cloud's storage domain"),
        ("https://ve-nd.blob.core.windows.net/c/callers.toml", "is not in the cloud's storage domain"),
        ("https://vend.blob.core.chinacloudapi.cn/c/callers.toml", "is not in the cloud's storage domain"),
        ("https://vend.privatelink.blob.core.windows.net/c/x", "is a private-link name"),
        ("https://files.example.com/c/callers.toml", "is not in the cloud's storage domain"),
    ],
)
def test_a_blob_is_in_the_domain_of_its_cloud(url: str, fault: str) -> None:
    """FND-A1: and a token for Azure Storage to a storage account of it."""
    found = CLOUDS["public"].blob_fault(url)
    assert found.startswith(fault) if fault else found == ""


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://Host.Example/x?y#z", Origin("https", "host.example", 443)),
        ("http://127.0.0.1:8080", Origin("http", "127.0.0.1", 8080)),
        ("https://[::1]:1/", Origin("https", "[::1]", 1)),
        ("https://h/" + "x" * (URL_LENGTH - 10), Origin("https", "h", 443)),
        ("https://h/" + "x" * (URL_LENGTH - 9), None),
        ("https://h:0/", None),
        ("https://h:65536/", None),
        ("https://h:0443/", None),
        ("https://h:/", None),
        ("https://user@h/", None),
        ("https://h\\.evil/", None),
        ("https://h/\\x", None),
        ("https://h /", None),
        ("https://h\t/", None),
        ("https://h\N{CYRILLIC SMALL LETTER A}/", None),
        ("https://-h/", None),
        ("https:///x", None),
        ("ftp://h/", None),
        ("//h/", None),
        ("", None),
    ],
)
def test_an_origin_is_what_every_reader_reads(url: str, origin: Origin | None) -> None:
    """FND-A3: capitals are no other scheme; what two readers may read in two ways has no origin."""
    assert origin_of(url) == origin
