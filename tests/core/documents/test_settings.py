from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.documents.credentials import CertificateSettings
from shared.core.documents.settings import Settings
from shared.core.documents.toml import DocumentError
from shared.core.entra.clouds import CLOUDS
from shared.wiring.settings import load_settings
from tests.tables import case_id, cases, text

EXAMPLE = text("settings.toml", "example")
ENVIRON = {"AZURE_CLIENT_ID": "33333333-3333-3333-3333-333333333333", "KEY_VAULT_URL": "https://vend.vault.azure.net"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsCase:
    """A change of the example; tests/data/settings.toml describes the fields."""

    id: str
    change: tuple[tuple[str, str], ...] = ()
    more: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...]


CASES = cases("settings.toml", SettingsCase, beside=["example"])


def load(text: str, folder: Path, environ: Mapping[str, str] = ENVIRON) -> Settings:
    """Load a document."""
    (folder / "vend.toml").write_text(text)
    return load_settings(environ, root=folder)


def mistakes(text: str, folder: Path, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    """List what is wrong with a document."""
    try:
        load(text, folder, environ)
    except DocumentError as error:
        return error.mistakes
    return []


def changed_example(case: SettingsCase) -> str:
    """Write the document of a case."""
    text = EXAMPLE
    for old, new in case.change:
        assert old in text
        text = text.replace(old, new)
    return text + case.more


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_mistake_is_named_by_its_key(case: SettingsCase, tmp_path: Path) -> None:
    """REL-48: all mistakes that can be seen are told at once, each where it is."""
    found = mistakes(changed_example(case), tmp_path, {**ENVIRON, **case.environ})
    assert [mistake.partition(":")[0] for mistake in found] == list(case.mistakes)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_mistake_hides_no_other(case: SettingsCase, tmp_path: Path) -> None:
    """C1: whatever is wrong with a document is told beside the mistakes of one more profile, and those beside it."""
    more = """
[profiles.more]
tenants = ['${UNSET}', 't']
client_id = '${UNSET}'
scopes = 1
credentials = [{ type = '${UNSET}' }]
"""
    found = mistakes(changed_example(case) + more, tmp_path, {**ENVIRON, **case.environ})
    keys = {mistake.partition(":")[0] for mistake in found}
    assert keys >= {*case.mistakes}
    if not keys & {"vend.toml", "profiles"}:  # no TOML, or no table of profiles
        ours = ("tenants[0]", "tenants[1]", "client_id", "scopes", "credentials[0].type")
        assert keys >= {f"profiles.more.{key}" for key in ours}
        assert "profiles.more.credentials[0].type: the app setting UNSET is not set" in found


def test_the_first_token_needs_twelve_lines(tmp_path: Path) -> None:
    """The example says everything that is needed, and means what it says."""
    assert sum(bool(line) for line in EXAMPLE.splitlines()) <= 12
    settings = load(EXAMPLE, tmp_path)
    graph = settings.profiles["graph"]
    assert (settings.home, settings.identity_client_id) == (CLOUDS["public"], ENVIRON["AZURE_CLIENT_ID"])
    assert graph.credentials == (CertificateSettings(vault=ENVIRON["KEY_VAULT_URL"], name="vend"),)
    assert graph.vendable


def test_variables_are_replaced_and_their_escape_is_literal(tmp_path: Path) -> None:
    """`${NAME}` once, anywhere in a string; `$${` is `${`; what a variable holds is not replaced again."""
    text = EXAMPLE.replace("callers.toml", "a-${X}-$${X}-$X.toml")
    assert load(text, tmp_path, {**ENVIRON, "X": "${KEY_VAULT_URL}"}).callers == "a-${KEY_VAULT_URL}-${X}-$X.toml"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("callers = 'CANARY", "end of document"),
        ("a = 1\nCANARY = 1\nCANARY = 2\n", "line 3, column 11"),
        ("a = CANARY", "line 1, column 5"),
    ],
)
def test_a_syntax_error_is_told_by_its_place_alone(text: str, place: str, tmp_path: Path) -> None:
    """One mistake, line and column, and nothing of what stands there, not even in an error that Python chains."""
    with pytest.raises(DocumentError) as caught:
        load(text, tmp_path)
    (found,) = caught.value.mistakes
    assert found == f"vend.toml: is not valid TOML at {place}"
    assert caught.value.__suppress_context__


def test_a_document_that_is_missing_or_no_text_is_a_mistake(tmp_path: Path) -> None:
    """REL-48: whatever the file is, it is one mistake and no crash."""
    with pytest.raises(DocumentError, match=r"vend\.toml: cannot be read \(FileNotFoundError\)"):
        load_settings(ENVIRON, root=tmp_path)
    (tmp_path / "vend.toml").write_bytes(b"\xff")
    with pytest.raises(DocumentError, match=r"vend\.toml: is not UTF-8"):
        load_settings(ENVIRON, root=tmp_path)


# Each value of the example, by the text that stands before it.
PLACES = [line for line in EXAMPLE.splitlines() if " = " in line]


@given(line=st.sampled_from(PLACES), in_list=st.booleans())
def test_no_value_is_ever_in_a_message(line: str, *, in_list: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A value may have come out of an app setting, so messages name keys alone."""
    value = '["${X}"]' if in_list else '"${X}"'
    text = EXAMPLE.replace(line, f"{line.partition(' = ')[0]} = {value}")
    found = mistakes(text, tmp_path_factory.mktemp("settings"), {**ENVIRON, "X": "https://C4N4RY.example/?a"})
    assert "C4N4RY" not in str(found)
