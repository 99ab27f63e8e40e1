from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.documents.credentials import CertificateSettings
from shared.core.documents.settings import Settings, examine_settings, upstream_mistakes
from shared.core.documents.table import LARGEST, LONGEST_KEY
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


LONG = "k" * LONGEST_KEY
ROTATES = f'application_object_id = "{"4" * 8}-4444-4444-4444-{"4" * 12}"\n'
TENANT, OTHER_TENANT = ("1" * 8 + "-1111-1111-1111-" + "1" * 12, "5" * 8 + "-5555-5555-5555-" + "5" * 12)


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (("", ""), f"[limits]\n{LONG} = 1", f"limits.{LONG}: is not a setting"),
        (("", ""), f"[limits]\n{LONG}k = 1", f"limits.{LONG[:-3]}...: is not a setting"),
        (('type = "certificate"\n', ""), "", "profiles.graph.credentials[0].type: is missing"),
        (('"certificate"', '"secrets"'), "", "profiles.graph.credentials[0].type: must be one of certificate,"),
        (('"certificate"', '"x"'), "\ncolour = 1", "profiles.graph.credentials[0].colour: is not a setting"),
        (('"callers.toml"', '"${UNSET}"'), "", "callers: the app setting UNSET is not set"),
        (("", ""), f"[limits]\nwaiting_max = {-LARGEST}", "limits.waiting_max: must be "),
        (
            ("", ""),
            f"[limits]\nwaiting_max = {-LARGEST - 1}",
            f"limits.waiting_max: must be a number of at most {LARGEST}",
        ),
    ],
)
def test_a_mistake_says_what_would_be_right(tmp_path: Path, change: tuple[str, str], more: str, says: str) -> None:
    """The whole sentence, behind the key."""
    found = mistakes(EXAMPLE.replace(*change) + more, tmp_path)
    assert [mistake for mistake in found if mistake.startswith(says)], found
    assert all("at most" not in mistake for mistake in found) or "at most" in says


def test_a_table_of_no_known_kind_is_measured_by_what_all_kinds_have(tmp_path: Path) -> None:
    """Only what no kind of credential would take is told, not what one of them lacks."""
    found = mistakes(EXAMPLE.replace('"certificate"', '"x"') + "colour = 1\n", tmp_path)
    assert [mistake.partition(": ")[0].rpartition(".")[2] for mistake in found] == ["type", "colour"]


@pytest.mark.parametrize(("tenant", "home"), [("", TENANT), (OTHER_TENANT.upper(), OTHER_TENANT)])
def test_the_home_of_a_registration_is_its_first_tenant_or_the_one_that_is_named(
    tmp_path: Path, tenant: str, home: str
) -> None:
    """The rotation registers certificates there."""
    lines = ROTATES + (f'application_tenant_id = "{tenant}"\n' if tenant else "")
    settings = load(EXAMPLE.replace("\n[[profiles", f"{lines}\n[[profiles"), tmp_path)
    assert settings.profiles["graph"].home_tenant == home


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("", ""), []),
        (("${AZURE_CLIENT_ID}", ""), []),
        (("${AZURE_CLIENT_ID}", "x"), ["identity_client_id"]),
        (("${KEY_VAULT_URL}", "https://vend.vault.azure.cn"), ["profiles.graph.credentials[0].vault"]),
        (("${KEY_VAULT_URL}", "http://vend.vault.azure.cn"), []),
        (('vault = "${KEY_VAULT_URL}"', "vault = 7"), []),
        (('callers = "callers.toml"', 'cloud = "moon"\nidentity_client_id2 = "x"'), []),
    ],
    ids=["good", "no identity", "identity", "vault", "no URL", "no text", "no cloud"],
)
def test_what_an_upstream_will_refuse_is_told_too(change: tuple[str, str], says: list[str]) -> None:
    """By the commands that check; the app starts, and answers 502 where it needs that upstream."""
    settings, _ = examine_settings(EXAMPLE.replace(*change).encode(), ENVIRON, name="vend.toml")
    assert [mistake.partition(":")[0] for mistake in upstream_mistakes(settings)] == says


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (("", ""), "", []),
        (("", ""), "graph_page_seconds = 60", ["limits.graph_page_seconds: nothing uses it, as there is no [sync]"]),
        (("", ""), "graph_page_seconds = 120", []),
        (("", ""), "waiting_max = 3\nvault_reread_seconds = 60", []),
        (
            ('type = "certificate"\nvault = "${KEY_VAULT_URL}"\nname = "vend"', 'type = "secret"\nvalue = "s"'),
            "vault_reread_seconds = 60",
            ["limits.vault_reread_seconds: nothing uses it, as no credential is in Key Vault"],
        ),
        (("", ""), "graph_page_bytes = 9\ngraph_first_byte_seconds = 9\n[sync]\nprofile = 'x'\nstore = 'y'", []),
    ],
    ids=["none", "no sync", "the default", "used", "no vault", "sync"],
)
def test_a_limit_that_bounds_nothing_is_no_mistake(change: tuple[str, str], more: str, says: list[str]) -> None:
    """It is a warning, where its value differs from the one that it has anyway."""
    document = f"{EXAMPLE.replace(*change)}[limits]\n{more}"
    settings, _ = examine_settings(document.encode(), ENVIRON, name="vend.toml")
    assert settings.warnings == says
