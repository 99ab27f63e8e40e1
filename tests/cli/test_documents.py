"""`./vend check` and `./vend callers explain`."""

import json
import re
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.documents import default_config
from shared.adapters.http import ROOTS_BYTES
from tests.cli.conftest import Run
from tests.tables import case_id, cases, text

TABLE = "explain.toml"
SETTINGS, CALLERS = text(TABLE, "settings"), text(TABLE, "callers")
SHORT = {
    "ONE": "11111111-1111-1111-1111-111111111111",
    "TWO": "22222222-2222-2222-2222-222222222222",
    "PRIVATE": "api://private/.default",
    "A": "api://a/.default",
    "B": "api://b/.default",
}


VAULT = "profiles.main.credentials[0].vault:"


def own_cloud(vault: str = "vault.azure.net") -> str:
    """Return the lines of a custom cloud."""
    return f"""cloud = 'own'
[clouds.own]
authority = 'https://login.example'
graph = 'https://graph.example'
management = 'https://management.example'
token_exchange_audience = 'api://x'
blob = 'https://localhost:4'
vault = '{vault}'
database = 'localhost'
verify_vault_challenge = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked for; tests/data/explain.toml describes the fields."""

    id: str
    ask: str
    exit: int
    says: tuple[str, ...]
    add: bool = False


def write(folder: Path, settings: str = SETTINGS, callers: str = CALLERS) -> str:
    """Write both documents; tell the path of vend.toml."""
    (folder / "vend.toml").write_text(f"callers = '{folder}/callers.toml'\n{settings}")
    (folder / "callers.toml").write_text(callers)
    return str(folder / "vend.toml")


def test_good_documents_are_told_in_one_line(run: Run, tmp_path: Path) -> None:
    """Exit code 0, both files, and how much is in them: enough to see that the right ones were read."""
    done = run("check", "--config", write(tmp_path))
    assert done.stdout == f"{tmp_path}/vend.toml and {tmp_path}/callers.toml are good: 2 profiles, 5 callers.\n"
    assert done.exit_code == 0


def test_the_mistakes_of_both_documents_are_told_at_once(run: Run, tmp_path: Path) -> None:
    """Each by its dotted key under its file, exit code 1; what is no mistake for sure is not called one."""
    settings = SETTINGS.replace("[profiles.private]", "[profiles.private]\nregion = 'West Europe'")
    done = run("check", "--config", write(tmp_path, settings, CALLERS.replace("aaaaa", "AAAAA").replace("cccc", "C")))
    keys = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert keys == [
        f"{tmp_path}/vend.toml",
        "  profiles.private.region",
        f"{tmp_path}/callers.toml",
        "  callers.billing.key_sha256[0]",
        "  callers.gone.key_sha256[0]",
        "  warning",
        "3 mistakes.",
    ]
    assert done.exit_code == 1


def test_a_warning_is_told_and_no_mistake(run: Run, tmp_path: Path) -> None:
    """Two entries for one scope and tenant: the first one decides, and exit code 0."""
    entry = '{ profile = "main", scopes = ["api://b/.default"] },'
    done = run("check", "--config", write(tmp_path, callers=CALLERS.replace("allow = [\n", f"allow = [{entry}\n")))
    warning, good = done.stdout.splitlines()
    assert warning.startswith("warning: callers.billing.allow[1]: lists api://b/.default for a tenant")
    assert good.endswith("are good: 2 profiles, 5 callers.")
    assert done.exit_code == 0


@pytest.mark.parametrize("callers", ["", "https://vend.blob.core.windows.net/configuration/callers.toml"])
def test_a_limit_that_bounds_nothing_is_a_warning(run: Run, tmp_path: Path, callers: str) -> None:
    """Also where the callers document is not read."""
    config = write(tmp_path, f"{SETTINGS}[limits]\ngraph_page_seconds = 60\n")
    if callers:
        text = (tmp_path / "vend.toml").read_text().replace(f"{tmp_path}/callers.toml", callers)
        (tmp_path / "vend.toml").write_text(text)
    warning = "limits.graph_page_seconds: nothing uses it, as there is no [sync]"
    done = run("check", "--config", config)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"warning: {warning}")
    assert json.loads(run("check", "--config", config, "--json").stdout)["warnings"] == [warning]


def test_callers_are_held_against_good_profiles_alone(run: Run, tmp_path: Path) -> None:
    """A profile with a mistake makes none of the callers who use it, and it is said that they were not looked at."""
    callers = CALLERS.replace("api://b/", "api://c/")
    bad = run("check", "--config", write(tmp_path, SETTINGS.replace("api://a/.default", "api://a"), callers))
    assert "callers.toml: good so far; its profiles are checked once vend.toml is good\n" in bad.stdout
    good = run("check", "--config", write(tmp_path, SETTINGS, callers))
    assert "vend.toml" not in good.stdout
    assert "  callers.auditor.allow[0].scopes[0]: the profile does not have this scope\n" in good.stdout


def test_a_setting_that_is_not_set_is_a_mistake_with_a_way_out(run: Run, tmp_path: Path) -> None:
    """`${NAME}` comes from the environment; the hint is a command line that sets it, once for each name."""
    config = write(tmp_path, re.sub("33333333-[0-9-]*", "${THE_CLIENT}", SETTINGS))
    bad = run("check", "--config", config)
    assert "  profiles.main.client_id: the app setting THE_CLIENT is not set\n" in bad.stdout
    assert bad.stdout.endswith("here: THE_CLIENT=... ./vend check\n")
    assert run("check", "--config", config, THE_CLIENT=SHORT["ONE"]).exit_code == 0


def test_callers_in_a_blob_are_read_once_it_is_known_how(run: Run, tmp_path: Path) -> None:
    """The mistakes of vend.toml are told without a login; where the blob cannot be read, no word of goodness.

    FND-A1. Without --remote, nobody is asked for a token.
    """
    blob = "https://vend.blob.core.windows.net/configuration/callers.toml"
    config = write(tmp_path)
    text = (tmp_path / "vend.toml").read_text().replace(f"{tmp_path}/callers.toml", blob)
    (tmp_path / "vend.toml").write_text(f"{text}\nregion = 1")
    assert run("check", "--config", config, PATH="").stdout.endswith("\n1 mistake.\n")
    (tmp_path / "vend.toml").write_text(text)
    local = run("check", "--config", config, PATH="")
    assert (local.exit_code, local.stderr) == (0, "")
    assert local.stdout.splitlines()[1] == f"{blob} was not read. --remote reads it, and sends your login there."
    done = run("check", "--config", config, "--remote", PATH="")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Neither az nor azd gives a token for https://storage.azure.com.\n")


@pytest.mark.parametrize("variable", ["WEBSITE_INSTANCE_ID", "CONTAINER_NAME", "WEBSITE_POD_NAME"])
def test_a_container_is_not_azure(run: Run, tmp_path: Path, variable: str) -> None:
    """This command never runs on Azure, whatever a development container calls itself."""
    assert run("check", "--config", write(tmp_path, own_cloud() + SETTINGS), **{variable: "x"}).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("vend.vault.azure.net", "v.vaultcore.azure.net", f"{VAULT} is not in the cloud's vault domain"),
        ("vend.vault.azure.net", "vend.vault.azure.cn", f"{VAULT} is not in the cloud's vault domain"),
        ("vend.vault.azure.net", "vend.vault.azure.net:8443", f"{VAULT} is not in the cloud's vault domain"),
        ("vend.vault.azure.net", "vend.privatelink.vaultcore.azure.net", f"{VAULT} is a private-link name"),
        ("vend.vault.azure.net", "vend.managedhsm.azure.net", f"{VAULT} is a Managed HSM"),
        ("[profiles.main]", f"{own_cloud('https://localhost:5')}[profiles.main]", f"{VAULT} is not in the cloud's"),
        (
            "[profiles.main]",
            "identity_client_id = 'vend'\n[profiles.main]",
            "identity_client_id: must be the client ID",
        ),
    ],
    ids=["vaultcore", "another cloud", "a port", "private link", "Managed HSM", "a custom cloud", "no GUID"],
)
def test_what_an_upstream_would_refuse_is_a_mistake_here(
    run: Run, tmp_path: Path, old: str, new: str, mistake: str
) -> None:
    """A6, FND-D3. The app starts, and answers 502 where it needs that upstream; so the settings are not called good.

    A caller can be taken out meanwhile: the commands that change the document go on.
    """
    config = write(tmp_path, SETTINGS.replace(old, new))
    done = run("check", "--config", config)
    file, *told, number = done.stdout.splitlines()
    assert (done.exit_code, file) == (1, config)
    assert told[0].startswith(f"  {mistake}")
    assert number.startswith(f"{len(told)} mistake")
    changed = run("callers", "revoke", "nobody", "--config", config, "--app", "https://vend.example")
    assert (changed.exit_code, "mistake" in changed.output) == (1, False)


def test_documents_that_are_not_there_are_mistakes(run: Run, tmp_path: Path) -> None:
    """A missing file is one line and exit code 1, not a traceback."""
    done = run("check", "--config", f"{tmp_path}/vend.toml")
    assert "  vend.toml: cannot be read (FileNotFoundError)\n1 mistake.\n" in done.stdout
    assert (done.exit_code, done.stderr) == (1, "")


SPARSE_BYTES = 1024 * 1024 * 1024
ENDLESS = "/dev/zero"


@pytest.mark.parametrize("is_device", [True, False], ids=["a device", "a gigabyte"])
@pytest.mark.parametrize("of", ["vend.toml", "callers.toml", "ca.pem"])
def test_no_file_is_read_without_end(run: Run, tmp_path: Path, of: str, *, is_device: bool) -> None:
    """SEC-30: a document or a bundle of roots is a regular file of a bounded size, whatever a vend.toml names."""
    config = write(tmp_path, f"network.ca_file = '{tmp_path}/ca.pem'\n{SETTINGS}" if of == "ca.pem" else SETTINGS)
    (tmp_path / of).unlink(missing_ok=True)
    if is_device:
        (tmp_path / of).symlink_to(ENDLESS)
    else:
        with (tmp_path / of).open("wb") as file:
            file.truncate(SPARSE_BYTES)
    tracemalloc.start()
    try:
        done = run("check", "--config", config)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    unreadable = "cannot be read (NoRegularFileError)" if is_device else "larger than 256 KiB"
    assert ("network.ca_file: is no file of PEM certificates" if of == "ca.pem" else unreadable) in done.output
    assert done.exit_code == 1
    assert peak < 16 * ROOTS_BYTES


def test_keys_beside_a_vend_toml_are_not_read_without_end(run: Run, tmp_path: Path) -> None:
    """SEC-30: what lies beside a vend.toml of others is theirs too."""
    cloud = own_cloud().replace("https://management.example", "https://localhost:3")
    config = write(tmp_path, cloud + SETTINGS)
    (tmp_path / "host.keys.json").symlink_to(ENDLESS)
    done = run("callers", "revoke", "billing", "--config", config, "--app", "http://localhost:1")
    assert done.stderr.startswith(f"{tmp_path}/host.keys.json cannot be read\n")
    assert done.exit_code == 1


@pytest.mark.parametrize(
    "callers", ["${SECRET}", "folder/${SECRET}.toml", "https://vend.blob.core.windows.net/configuration/${SECRET}"]
)
@pytest.mark.parametrize("lies_there", [None, "", "a = ["], ids=["no document", "an empty one", "no TOML"])
def test_the_value_of_an_app_setting_is_not_printed(
    run: Run, tmp_path: Path, callers: str, lies_there: str | None
) -> None:
    """FND-A1: a vend.toml of others may name any variable; what it stands for is shown as it is written there."""
    config = write(tmp_path)
    text = (tmp_path / "vend.toml").read_text().replace(f"{tmp_path}/callers.toml", callers)
    (tmp_path / "vend.toml").write_text(text)
    secret = f"{tmp_path}/C4N4RY" if callers.startswith("$") else "C4N4RY"
    if lies_there is not None and callers.startswith("$"):
        Path(secret).write_text(lies_there)
    done = run("check", "--config", config, SECRET=secret)
    assert callers in done.output
    assert "C4N4RY" not in done.output


def test_the_documents_of_make_run_come_before_the_deployed_ones(tmp_path: Path) -> None:
    """VEND_CONFIG, where the app reads it too; else those of `make run`; else vend.toml beside the app."""
    assert default_config({}, root=tmp_path) == tmp_path / "vend.toml"
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "vend.toml").touch()
    assert default_config({}, root=tmp_path) == tmp_path / ".run" / "vend.toml"
    assert default_config({"VEND_CONFIG": "other.toml"}, root=tmp_path) == tmp_path / "other.toml"


def lengthened(text: str, folder: Path) -> str:
    """Write out what the table abbreviates."""
    for short, full in SHORT.items():
        text = re.sub(rf"\b{short}\b", full, text)
    return text.replace("FOLDER", str(folder))


@pytest.mark.parametrize("case", cases(TABLE, Case, beside=["settings", "callers"]), ids=case_id)
def test_who_asks_why_learns_it(run: Run, tmp_path: Path, case: Case) -> None:
    """Which entry decides, for which tenant, and what would have to change; and that change is the right one."""
    words = ("callers", "explain", *lengthened(case.ask, tmp_path).split(), "--config", write(tmp_path))
    done = run(*words)
    lines = done.output.splitlines()
    assert done.exit_code == case.exit
    assert [line for line in case.says if lengthened(line, tmp_path) not in lines] == []
    if not case.add:
        return
    entry = re.search(r"add to allow of callers\.(\w+): (.*)", done.stdout)
    assert entry
    before, at, after = CALLERS.partition(f"[callers.{entry[1]}]\n")
    if "allow = [" in after:
        after = after.replace("allow = [", f"allow = [{entry[2]}, ", 1)
    else:
        after = f"allow = [{entry[2]}]\n{after}"
    config = write(tmp_path, callers=before + at + after)
    assert run(*words[:-1], config).exit_code == 0


def test_without_a_local_run_that_is_said_first(run: Run) -> None:
    """FND-E4. Nobody named the vend.toml of this clone, whose app settings are not set here."""
    done = run("check")
    assert done.stdout.startswith("`make run` is not running here. Without it, this is about the documents")
    assert "vend.toml\n" in done.stdout.splitlines(keepends=True)[1]


def test_a_byte_order_mark_is_read(run: Run, tmp_path: Path) -> None:
    """FND-E10. Some editors begin a file with one."""
    config = write(tmp_path)
    for name in ("vend.toml", "callers.toml"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert run("check", "--config", config).exit_code == 0
