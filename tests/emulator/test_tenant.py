"""The objects of a tenant: made up, changed, and read by delta queries to the same state."""

import random
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.evolution import Evolution
from emulator.directory.kinds import (
    APPLICATIONS,
    DEVICES,
    GROUPS,
    KINDS,
    MANAGER,
    MEMBERS,
    OWNERS,
    SERVICE_PRINCIPALS,
    USERS,
    Kind,
)
from emulator.directory.object_store import ObjectStore
from emulator.directory.population import ORDER, Population, Size
from emulator.directory.truth import truth
from tests.emulator.graph_copy import Copy, expected
from tests.emulator.graph_reader import Reader

STREAMS = (USERS, GROUPS, SERVICE_PRINCIPALS, APPLICATIONS)
SELECTIONS = {
    "users": frozenset(
        {"displayName", "department", "jobTitle", "city", "employeeId", "mail", "accountEnabled", MANAGER}
    ),
    "groups": frozenset({"displayName", "description", "groupTypes", "securityEnabled", MEMBERS, OWNERS}),
    "servicePrincipals": frozenset({"displayName", "appId", "accountEnabled", "keyCredentials", "passwordCredentials"}),
    "applications": frozenset({"displayName", "appId", "keyCredentials", "passwordCredentials"}),
}
HARD: dict[str, Any] = {
    "page_size": 7,
    "links_per_page": 5,
    "group_page_sizes": [3, 1, 4],
    "shuffled": True,
    "repeats": True,
    "empty_pages_first": 2,
    "empty_pages_between": 1,
    "removed_in_first_round": True,
    "nulls_in_first_round": True,
}


def store(size: Size, *, seed: int = 1) -> ObjectStore:
    """Make a store of its own."""
    return ObjectStore(now=lambda: 1_800_000_000.0, lock=RLock(), size=size, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, HARD, {"links_per_page": 1}], ids=["plain", "hard", "one link on a page"])
def test_a_reader_of_every_kind_has_the_tenant_in_the_end(tmp_path: Path, switches: dict[str, Any]) -> None:
    """Pages of four kinds in any order, with changes between them: objects, edges and credentials are the same."""
    chance = random.Random(11)  # noqa: S311 - the same story every time
    with LocalCloud(tmp_path, users=40, now=lambda: 1_800_000_000.0) as cloud:
        trust = ssl.create_default_context(cafile=str(cloud.ca_file))
        with httpx.Client(verify=trust) as http:
            reader = Reader(cloud, http)
            cloud.graph.delta.read({"group_page_sizes": [200], **switches})
            evolution = Evolution(cloud.objects, seed=5, hard_values=True)
            copy = Copy(SELECTIONS)
            links = {kind: f"/v1.0/{kind.name}/delta?$select={','.join(SELECTIONS[kind.name])}" for kind in STREAMS}
            for _ in range(90):
                read_page(reader, copy, links, chance.choice(STREAMS))
                evolution.run(4)
            for _ in range(2):
                for kind in STREAMS:
                    while read_page(reader, copy, links, kind):
                        pass

            true = expected(truth(cloud.objects), SELECTIONS)
            assert copy.objects() == true.objects()
            assert copy.live_edges() == true.live_edges()
            assert copy.deleted() <= true.deleted()
            assert len(true.live_edges()) > 100


def read_page(reader: Reader, copy: Copy, links: dict[Kind, str], kind: Kind) -> bool:
    """Take one page of a stream over; return whether its round goes on."""
    page = reader.page(links[kind])
    for row in page["value"]:
        copy.take(kind, row)
    links[kind] = page.get("@odata.nextLink") or page["@odata.deltaLink"]
    return "@odata.nextLink" in page


@pytest.mark.parametrize(
    "size",
    [
        Size.of(0),
        Size.of(20),
        Size.of(333),
        Size(users=7, groups=50, members=7, largest=3, service_principals=3, devices=2),
        Size(users=100, groups=70, members=3, largest=100),
    ],
    ids=["no users", "small", "usual", "every user in every group", "one large group"],
)
def test_the_relations_of_a_made_up_tenant_are_the_same_from_both_ends(size: Size) -> None:
    """`holders` is the inverse of `edges`, an id leads back to its index, and there is no edge twice."""
    population = Population(size, seed=3, epoch=0.0)
    forward, backward = [], []
    for kind in ORDER:
        for index in range(population.count(kind)):
            object_id = population.id(kind, index)
            assert population.find(object_id) == (kind, index)
            forward += [
                (name, object_id, each) for name in kind.relations for each in population.edges(name, kind, index)
            ]
            backward += [(name, source, object_id) for name, source in population.holders(object_id)]

    assert sorted(forward) == sorted(backward)
    assert len(forward) == len(set(forward))


def test_a_tenant_of_a_million_users_is_made_when_it_is_read() -> None:
    """Its size costs nothing, and every object of it can be found."""
    size = Size(users=1_000_000, groups=100_000, members=50, largest=200_000)
    objects = store(size)
    last = objects.ids(USERS)[-1]
    objects.purge(last)

    found = objects.find(objects.ids(USERS)[999_998])
    assert found
    assert found.properties["userPrincipalName"] == "user999998@contoso.onmicrosoft.com"
    assert all(last not in objects.edges(MEMBERS, objects.ids(GROUPS)[group]) for group in (19_999, 39_999))
    with pytest.raises(ValueError, match="at most all users"):
        store(Size(users=1, members=2))


def test_the_same_seed_makes_the_same_evolution() -> None:
    """Another seed makes another one. Every end of an edge is in the tenant, and cycles come about."""
    found = []
    for seed in (1, 1, 2):
        objects = store(Size.of(30))
        Evolution(objects, seed=seed, hard_values=True).run(1_500)
        found.append(truth(objects))
    first, same, other = found

    assert first == same
    assert first != other
    ids = first.objects.keys()
    assert all({source, target} <= ids for _, source, target in first.edges)
    assert not first.purged & ids
    nested = {(source, target) for relation, source, target in first.edges if relation == MEMBERS}
    assert any((target, source) in nested for source, target in nested)
    assert first.position >= 1_500


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda objects, _, __: objects.create(USERS, {"shoeSize": 44}), ValueError),
        (lambda objects, _, __: objects.create(USERS, {}, type_="group"), ValueError),
        (lambda objects, user, _: objects.update(user, {"shoeSize": 44}), ValueError),
        (lambda objects, user, _: objects.update(user[:-1] + "x", {}), KeyError),
        (lambda objects, user, _: objects.restore(user), KeyError),
        (lambda objects, user, group: objects.link(MEMBERS, user, group), ValueError),
        (lambda objects, user, group: objects.link(MEMBERS, group, user), ValueError),
        (lambda objects, user, group: objects.link(MEMBERS, group, user + "0"), KeyError),
        (lambda objects, _, group: objects.unlink(OWNERS, group, objects.ids(DEVICES)[0]), KeyError),
        (lambda objects, user, _: objects.remove_credential(user, "none"), KeyError),
    ],
    ids=[
        "property",
        "type",
        "property of a change",
        "id",
        "state",
        "relation",
        "twice",
        "target",
        "edge",
        "credential",
    ],
)
def test_a_change_that_cannot_be_changes_nothing(
    change: Callable[[ObjectStore, str, str], object], error: type[Exception]
) -> None:
    """A mistake is raised, and no round tells of it."""
    objects = store(Size.of(20))
    with pytest.raises(error):
        change(objects, objects.ids(USERS)[0], objects.ids(GROUPS)[0])
    assert objects.log.position == 0


def test_a_purge_ends_every_relation_of_an_object() -> None:
    """At both ends, those that were made up and those that were added."""
    objects = store(Size.of(40))
    user, group = objects.ids(USERS)[1], objects.ids(GROUPS)[-1]
    objects.link(OWNERS, group, user)
    assert any(user in edge for edge in truth(objects).edges)

    objects.delete(user)
    assert any(user in edge for edge in truth(objects).edges)
    objects.purge(user)

    assert not any(user in edge for edge in truth(objects).edges)
    assert user in truth(objects).purged


def test_a_device_has_no_recycle_bin() -> None:
    """It is gone at once."""
    objects = store(Size.of(20))
    device = objects.ids(KINDS["devices"])[0]
    objects.delete(device)
    assert device in truth(objects).purged
