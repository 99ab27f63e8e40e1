"""docs/runbook.md: a section for each check of readiness and for each event that wants somebody."""

import json
import re
import shlex
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.faults import NOTICED, SITUATIONS
from emulator.tour.site import AT_ONCE, Site, ask, start
from shared.telemetry.catalogue import EVENTS
from tests.cli.conftest import launch
from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text()
FOUR = ["Callers see", "Confirm", "Do", "Over"]
SECONDS_TO_COME = 90
IMPOSSIBLE = {"settings_invalid"}
"""What no `make run` can be brought to: the page says why."""
BREAKS = {
    "caller_ends": 0,
    "directory_credential_ends": 0,
    "identity_failed": 2,
    "requests_unlogged": 0,
    "settings_invalid": 0,
    "sync_mended": 0,
}
"""How much a rehearsal breaks, where it is not one thing: a flood breaks nothing."""
INDEX, CHECKS, EVERY_EVENT = re.split(r"^## (?:Checks|Events)$", PAGE, flags=re.MULTILINE)


def sections(part: str) -> dict[str, list[str]]:
    """Return the labels of each section of a part, by its heading."""
    _, *found = re.split(r"^### ", part, flags=re.MULTILINE)
    assert len({section.partition("\n")[0] for section in found}) == len(found)
    return {
        section.partition("\n")[0]: re.findall(r"^- \*\*([\w ]+)\*\*: ", section, re.MULTILINE) for section in found
    }


def rehearsals() -> dict[str, list[str]]:
    """Return the commands of each section that has a rehearsal."""
    found = {}
    for part in (CHECKS, EVERY_EVENT):
        for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
            _, label, text = section.partition("- **Rehearse**: ")
            if label:
                commands = [" ".join(each.split()) for each in re.findall(r"`((?:\./vend|curl) [^`]+)`", text)]
                found[section.partition("\n")[0]] = commands
    return found


def test_every_check_has_its_section() -> None:
    """Each that the app can answer a probe with, and no other."""
    sources = [file.read_text() for file in ROOT.glob("shared/**/*.py")]
    assert sections(CHECKS).keys() == set(re.findall(r'\bCheck\(\s*"(\w+)"', "\n".join(sources)))


def test_every_event_that_wants_somebody_has_its_section() -> None:
    """Each that names a remedy, and no other."""
    assert sections(EVERY_EVENT).keys() == {event.about.name for event in EVENTS if event.about.remedy}


def test_every_section_answers_the_four_questions() -> None:
    """In one order, so that a tired reader finds each answer at its place."""
    for name, labels in (sections(CHECKS) | sections(EVERY_EVENT)).items():
        assert labels in (FOUR, [*FOUR, "Rehearse"]), name


def test_every_rehearsal_names_what_can_be_broken() -> None:
    """A part, or a situation, and a way to fail; the nightly test sees that it leads there."""
    for name, commands in rehearsals().items():
        broken = [words[2] for words in map(str.split, commands) if words[1] == "break"]
        assert len(broken) == BREAKS.get(name, 1), name
        assert set(broken) <= NOTICED.keys() | SITUATIONS.keys()
        assert bool(commands) is (name not in IMPOSSIBLE)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(rehearsals().keys() - IMPOSSIBLE))
def test_a_rehearsal_leads_to_its_section(name: str, tmp_path: Path) -> None:
    """The commands of the page, on a run that has done what `make run` does: they log the event, or spoil the check."""
    with ExitStack() as stack:
        site = start(stack, tmp_path, limits=AT_ONCE)
        ask(site)
        environ = {
            "VEND_URL": site.app.url,
            "VEND_CONFIG": str(site.folder / "vend.toml"),
            "VEND_CONTROL": site.cloud.control,
        }
        operator = {"VEND_KEY_FILE": str(site.folder / "operator.key")}
        launch("sync", "--as", "operator", environ=environ | operator)
        before = times(site, name, environ | operator)
        places = {"localhost:7071": site.app.url, "127.0.0.1:8440": site.cloud.control, ".run/": f"{tmp_path}/"}
        for command in rehearsals()[name]:
            program, *words = shlex.split(command)
            if program == "curl":
                line = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], command)
                subprocess.run(["/bin/sh", "-c", line], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            else:
                caller = next((name for name in ("billing", "shop") if name in words), "operator")
                launch(*words, environ=environ | {"VEND_KEY_FILE": str(tmp_path / f"{caller}.key")})
        until = time.monotonic() + SECONDS_TO_COME
        while times(site, name, environ | operator) == before and time.monotonic() < until:
            ask(site)  # what background work has to tell leaves with the next request
            time.sleep(0.5)
        assert times(site, name, environ | operator) > before


def times(site: Site, name: str, environ: dict[str, str]) -> int:
    """Return how many events, or checks that are not `ok`, have led to a section of the page."""
    if name in sections(EVERY_EVENT):
        return (site.folder / "app.log").read_text().count(f'"event":"{name}"')
    checks = json.loads(launch("status", "--json", environ=environ).stdout)["checks"]
    return sum(check["name"] == name and check["state"] != "ok" for check in checks)


def test_every_section_is_in_the_index_once() -> None:
    """By the name that the check or the event has."""
    listed = re.findall(r"\[(\w+)\]\(#(\w+)\)", INDEX)
    assert sorted(listed) == sorted((name, name) for name in sections(CHECKS) | sections(EVERY_EVENT))
