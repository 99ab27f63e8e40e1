"""docs/runbook.md: a section for each check of readiness and for each event that wants somebody."""

import re

from shared.telemetry.catalogue import EVENTS
from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text()
INDEX, CHECKS, EVERY_EVENT = re.split(r"^## (?:Checks|Events)$", PAGE, flags=re.MULTILINE)


def sections(part: str) -> dict[str, list[str]]:
    """Return the labels of each section of a part, by its heading."""
    _, *found = re.split(r"^### ", part, flags=re.MULTILINE)
    assert len({section.partition("\n")[0] for section in found}) == len(found)
    return {
        section.partition("\n")[0]: re.findall(r"^- \*\*([\w ]+)\*\*: ", section, re.MULTILINE) for section in found
    }


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
        assert labels == ["Callers see", "Confirm", "Do", "Over"], name


def test_every_section_is_in_the_index_once() -> None:
    """By the name that the check or the event has."""
    listed = re.findall(r"\[(\w+)\]\(#(\w+)\)", INDEX)
    assert sorted(listed) == sorted((name, name) for name in sections(CHECKS) | sections(EVERY_EVENT))
