"""The policy holds for every shape that can be deployed, and each of its rules can fail."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.deployment import SHAPES, Deployment, Json, at, read_deployment
from tests.infra.policy import POLICY, Rule
from tests.tables import case_id, cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The smallest shape with one thing changed; tests/data/infra_policy.toml describes the fields."""

    id: str
    rule: str
    within: str
    path: str | None = None
    value: object = None


BAD_SAMPLES = cases("infra_policy.toml", Case)
RULES = {rule.id: rule for rule in POLICY}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.stem)
@pytest.mark.parametrize("rule", POLICY, ids=lambda rule: rule.id)
def test_a_shape_holds_the_policy(shape: Path, rule: Rule) -> None:
    """Nothing that the committed snapshot would deploy breaks a rule."""
    assert list(rule.check(read_deployment(shape))) == [], f"{rule.why} {rule.remedy}"


@pytest.mark.parametrize("case", BAD_SAMPLES, ids=case_id)
def test_a_rule_catches_its_bad_sample(case: Case) -> None:
    """The smallest shape with one thing changed breaks the rule that forbids it."""
    smallest = read_deployment(next(shape for shape in SHAPES if shape.stem == "smallest"))
    assert list(RULES[case.rule].check(spoiled(smallest, case)))


def test_every_rule_has_a_bad_sample() -> None:
    """No rule stands unproven."""
    assert RULES.keys() == {case.rule for case in BAD_SAMPLES}


def spoiled(deployment: Deployment, case: Case) -> Deployment:
    """Set, append (path ends in "-") or remove (no value) one thing of a file or of the first resource that fits."""
    bad = copy.deepcopy(deployment)
    files: dict[str, Json] = {
        "host.json": bad.host,
        "certificate policy": bad.certificate,
        "function_app.py": bad.triggers,
        "outputs": bad.outputs,
    }
    document = files.get(case.within) or next(found for found in bad.resources if fits(found, case.within))
    if case.path is None:
        bad.resources.remove(document)
        return bad
    *parents, last = case.path.split("/")
    place: Any = document
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    if case.value is None:
        del place[last]
    elif isinstance(place, list):
        place.append(case.value)
    else:
        place[last] = case.value
    return bad


def fits(resource: Json, pattern: str) -> bool:
    """Return whether a pattern fits the id of a resource, or the name of a role."""
    return any(re.search(pattern, name) for name in (resource["id"], at(resource, "properties.roleName") or ""))
