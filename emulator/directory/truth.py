"""The true state of a tenant, for a comparison with a copy of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emulator.directory.directory_object import DirectoryObject, State
from emulator.directory.kinds import CREDENTIALS, KEY_CREDENTIALS, KINDS
from emulator.directory.object_store import ObjectStore

type FullEdge = tuple[str, str, str]
"""A relationship, the id of the object that has it, and the id of the object at its other end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate or a secret, with the values that Graph shows."""

    is_key: bool
    name: object
    thumbprint: object
    starts: object
    ends: object


@dataclass(frozen=True)
class Truth:
    """Everything that is in a tenant at one moment.

    Args:
        objects: those that are active or in the recycle bin, by id.
        purged: the ids of those that are gone.
        edges: of active and deleted objects, to active and deleted objects.
        credentials: by the id of their object and their key id.
        position: the number of the last change.
    """

    objects: Mapping[str, DirectoryObject]
    purged: frozenset[str]
    edges: frozenset[FullEdge]
    credentials: Mapping[tuple[str, str], Credential]
    position: int


def truth(objects: ObjectStore) -> Truth:
    """Return the state of a tenant now."""
    with objects.lock:
        position = objects.log.position
        ids = (object_id for kind in KINDS.values() for object_id in objects.ids(kind))
        everything = {object_id: found for object_id in ids if (found := objects.find(object_id))}
        present = {object_id: found for object_id, found in everything.items() if found.state is not State.PURGED}
        return Truth(
            objects=present,
            purged=frozenset(everything.keys() - present.keys()),
            edges=frozenset(
                (relation, object_id, target)
                for object_id, found in present.items()
                for relation in found.kind.relations
                for target in objects.edges(relation, object_id)
            ),
            credentials={key: held for found in present.values() for key, held in _credentials(found)},
            position=position,
        )


def _credentials(found: DirectoryObject) -> Iterator[tuple[tuple[str, str], Credential]]:
    for name in CREDENTIALS:
        held = found.properties.get(name)
        for each in held if isinstance(held, list) else ():
            credential = Credential(
                is_key=name == KEY_CREDENTIALS,
                name=each["displayName"],
                thumbprint=each["customKeyIdentifier"],
                starts=each["startDateTime"],
                ends=each["endDateTime"],
            )
            yield (found.id, str(each["keyId"])), credential
