"""The schemas in docs/ say what the code does."""

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from scripts.schemas import CONFIGURATION, documents, meanings
from shared.core.documents.callers import CallersFile
from shared.core.documents.settings import Settings
from shared.core.documents.table import read_table
from shared.core.rules import NOTHING
from tests.core.documents.test_callers import CASES as CALLERS_CASES
from tests.core.documents.test_callers import CallersCase
from tests.core.documents.test_settings import CASES as SETTINGS_CASES
from tests.core.documents.test_settings import ENVIRON, SettingsCase, changed_example, mistakes
from tests.docs.test_docs import CONFIGURATION as PAGE
from tests.docs.test_docs import ROOT
from tests.tables import case_id

SCHEMAS = {
    name: json.loads((ROOT / "docs" / name).read_text()) for name in documents() if name.endswith(".schema.json")
}
VEND, CALLERS = (Draft202012Validator(SCHEMAS[f"{name}.schema.json"]) for name in ("vend", "callers"))
# Every key there is, each with a good value.
EVERY_SETTING = """
cloud = "local"
callers = "callers.toml"
app_checked_routes = true
allow_custom_cloud = true
identity_client_id = "${X}"
[clouds.local]
authority = "https://localhost:1"
graph = "https://localhost:2"
management = "https://localhost:3"
token_exchange_audience = "api://x"
blob = "https://localhost:4"
vault = "https://localhost:5"
database = "localhost"
verify_vault_challenge = false
[network]
proxy = "http://proxy.example"
ca_file = ""
[limits]
cache_entries = 3
attempt_seconds = 4.5
[profiles.graph]
tenants = ["11111111-1111-1111-1111-111111111111"]
client_id = "22222222-2222-2222-2222-222222222222"
scopes = ["https://graph.microsoft.com/.default"]
vendable = true
region = "westeurope"
claims_capabilities = ["cp1"]
application_object_id = "33333333-3333-3333-3333-333333333333"
application_tenant_id = "11111111-1111-1111-1111-111111111111"
[[profiles.graph.credentials]]
type = "certificate"
vault = "https://vend.vault.azure.net"
name = "vend"
signing = "vault"
send_x5c = true
[[profiles.graph.credentials]]
type = "federated_managed_identity"
identity_client_id = "${X}"
[[profiles.graph.credentials]]
type = "secret"
vault = "https://vend.vault.azure.net"
name = "vend"
value = "${X}"
[[profiles.graph.credentials]]
type = "certificate_file"
path = "vend.pem"
password = "${X}"
send_x5c = false
[[profiles.graph.credentials]]
type = "assertion_file"
path = "assertion"
[sync]
profile = "directory"
store = "sqlite:///x"
streams = ["users"]
[issuers.cluster]
issuer = "https://cluster.example"
audience = "vend"
jwks = "https://cluster.example/keys"
algorithms = ["RS256"]
[[issuers.cluster.keys]]
kty = "RSA"
kid = "1"
alg = "RS256"
use = "sig"
crv = "P-256"
x = "x"
y = "y"
n = "n"
e = "e"
"""
EVERY_CALLER = """
generation = 2
[callers.billing]
key_sha256 = ["0000000000000000000000000000000000000000000000000000000000000000"]
mode = "audit"
per_worker_per_minute = 600
admin = true
not_after = 2027-01-01T00:00:00Z
allow = [{ profile = "graph", scopes = ["api://a/.default"], tenants = ["11111111-1111-1111-1111-111111111111"] }]
[[callers.billing.identity]]
issuer = "cluster"
subject = "x"
object_id = "x"
tenant_id = "x"
"""
INSTEAD: tuple[Any, ...] = (None, "x", 1.5, 7, True, [], ["x"], [7], [{}], {}, {"x": 7}, {"x": {}}, {"unknown": "x"})


def is_valid(validator: Draft202012Validator, document: object) -> bool:
    """Ask the schema, which sees dates as an editor shows them."""
    return validator.is_valid(json.loads(json.dumps(document, default=str)))


def is_well_formed(shape: type, document: object) -> bool:
    """Ask the reader: no key unknown or missing, no value of the wrong type; the rules behind those are not asked."""
    found: list[str] = []
    made: object = read_table(shape, document, at="", mistakes=found)
    return not any(mistake.endswith("is not a setting") for mistake in found) and not has_nothing(made)


def has_nothing(value: object) -> bool:
    """Look for what could not be read."""
    if dataclasses.is_dataclass(value):
        return any(has_nothing(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return any(map(has_nothing, value.values()))
    return any(map(has_nothing, value)) if isinstance(value, tuple) else value is NOTHING


def changed(document: Any, instead: object) -> Iterator[Any]:  # noqa: ANN401  # whatever TOML holds
    """Put another value, or nothing, in every place of a document, one after the other; tables get one more key."""
    items = list(document.items() if isinstance(document, dict) else enumerate(document))
    for key, value in items:
        if instead is None and isinstance(document, dict):
            yield {name: item for name, item in items if name != key}
        variants = [instead] if instead is not None else [{**value, "unknown": 1}] if isinstance(value, dict) else []
        for variant in [*variants, *(changed(value, instead) if isinstance(value, dict | list) else ())]:
            copy = document.copy()
            copy[key] = variant
            yield copy


@pytest.mark.parametrize(("name", "text"), documents().items(), ids=list(documents()))
def test_a_contract_is_what_its_source_makes(name: str, text: str) -> None:
    """Nobody edits what `make schemas` writes, and nobody forgets to run it."""
    assert (ROOT / "docs" / name).read_text() == text, "run 'make schemas'"


def test_a_contract_is_a_schema() -> None:
    """Each is valid by the dialect that it names."""
    assert len(SCHEMAS) == 3
    assert [name for name, schema in SCHEMAS.items() if not meta.is_valid(schema)] == []


@pytest.mark.parametrize(
    ("validator", "shape", "text"),
    [(VEND, Settings, EVERY_SETTING), (CALLERS, CallersFile, EVERY_CALLER)],
    ids=["vend.toml", "callers.toml"],
)
def test_the_schema_and_the_reader_agree(validator: Draft202012Validator, shape: type, text: str) -> None:
    """Whatever stands in whichever place, or is missing, or is too much: both take it, or neither does."""
    whole = tomllib.loads(text)
    assert is_valid(validator, whole)
    verdicts = set()
    for instead in INSTEAD:
        for document in changed(whole, instead):
            verdict = is_well_formed(shape, document)
            assert is_valid(validator, document) is verdict, document
            verdicts.add(verdict)
    assert verdicts == {True, False}


@pytest.mark.parametrize("case", SETTINGS_CASES, ids=case_id)
def test_what_the_settings_take_the_schema_takes(case: SettingsCase, tmp_path: Path) -> None:
    """A document without mistakes is valid; one that the reader finds malformed is not."""
    text = changed_example(case)
    valid = is_valid(VEND, tomllib.loads(text))
    assert valid or mistakes(text, tmp_path, {**ENVIRON, **case.environ})
    assert not valid or is_well_formed(Settings, tomllib.loads(text))


@pytest.mark.parametrize("case", CALLERS_CASES, ids=case_id)
def test_what_the_callers_take_the_schema_takes(case: CallersCase) -> None:
    """The same for the callers."""
    document = tomllib.loads(case.document)
    assert is_valid(CALLERS, document) is is_well_formed(CallersFile, document)


@pytest.mark.parametrize("value", ["${SIGNING}", "a-${SIGNING}"])
def test_a_choice_may_come_out_of_a_variable(value: str) -> None:
    """`${NAME}` may stand in any string of vend.toml, so the schema asks no more of one that holds it."""
    document = tomllib.loads(EVERY_SETTING)
    document["profiles"]["graph"]["credentials"][0]["signing"] = value
    assert is_valid(VEND, document)


@pytest.mark.parametrize("name", ["vend", "callers"])
def test_every_row_of_the_page_describes_a_key(name: str) -> None:
    """What docs/configuration.md says of a key is what an editor shows: no row is about a key that is not there."""
    told = meanings(PAGE, f"{name}.toml")
    shown = set(descriptions(SCHEMAS[f"{name}.schema.json"]))
    assert len(told) >= 7, CONFIGURATION
    assert {key for key, meaning in told.items() if meaning not in shown} == set()


@pytest.mark.parametrize("name", ["vend", "callers"])
def test_every_key_has_a_meaning(name: str) -> None:
    """FND-E14: an editor can say what each key is for."""
    assert list(unexplained(SCHEMAS[f"{name}.schema.json"])) == []


def unexplained(schema: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Every key that takes a value, and whose meaning no row tells."""
    if isinstance(schema, list):
        for part in schema:
            yield from unexplained(part, at)
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            inside = list(unexplained(value, f"{at}.{key}"))
            yield from inside
            has_keys = "properties" in str(value)
            if not has_keys and "description" not in value:
                yield f"{at}.{key}"
        for part in ("additionalProperties", "items", "anyOf"):
            yield from unexplained(schema.get(part), at)


def descriptions(schema: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Every description in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema["description"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from descriptions(part)


@pytest.mark.parametrize(("file", "validator"), [("vend.toml", VEND), ("callers.toml.example", CALLERS)])
def test_the_deployed_documents_name_their_schema(file: str, validator: Draft202012Validator) -> None:
    """An editor that opens them finds it, and has nothing to complain about."""
    text = (ROOT / file).read_text()
    schema = ROOT / text.splitlines()[0].removeprefix("#:schema ")
    assert schema == ROOT / "docs" / f"{file.partition('.')[0]}.schema.json"
    assert is_valid(validator, tomllib.loads(text))
