"""What is committed to deploy with holds no secret."""

import re

import pytest

from tests.infra.deployment import INFRA, ROOT

SHAPES = {
    "token": r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "storage key": r"AccountKey=[\w+/]{8,}",
    "signature in a URL": r"[?&]sig=[\w%]{8,}",
    "secret of an app registration": r"\b[\w~.-]{3}[78]Q~[\w~.-]{31,}",
    "function key": r"[\w-]{44}AzFu[\w-]{5}[AQgw]==",
    "instrumentation key": r"InstrumentationKey=[0-9a-f]{8}-",
}
# Put together here, so that no scanner takes this file for a leak.
SAMPLES = {
    "token": "ey" + "JhbGciOiJSUzI1NiJ9." + "ey" + "JhdWQiOiJhcGkifQ.c2ln",
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "storage key": "AccountKey" + "=" + "A" * 86 + "==",
    "signature in a URL": "https://account.example/blob?sv=2025&" + "sig=" + "A%2B" * 8,
    "secret of an app registration": "abc8" + "Q~" + "d" * 34,
    "function key": "A" * 44 + "AzFu" + "B" * 5 + "A==",
    "instrumentation key": "Instrumentation" + "Key=01234567-89ab",
}


def leaks(text: str) -> list[str]:
    """Name each thing of a secret's shape in a text."""
    return [name for name, shape in SHAPES.items() if re.search(shape, text)]


def test_nothing_to_deploy_with_is_a_secret() -> None:
    """No Bicep, parameter, snapshot or other file beside them holds anything of a secret's shape."""
    files = [ROOT / "azure.yaml", *(file for file in INFRA.rglob("*") if file.is_file())]
    assert {file.name: found for file in files if (found := leaks(file.read_text()))} == {}


@pytest.mark.parametrize("name", SHAPES)
def test_a_secret_would_be_seen(name: str) -> None:
    """The scanner itself can fail: one secret of each shape is found."""
    assert leaks(f'param value = "{SAMPLES[name]}"') == [name]
