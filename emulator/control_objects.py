"""The objects of the seeded tenant, by the control API of the local cloud.

Its routes:

    GET    /objects                            the true state: objects, edges and credentials
    POST   /objects/{kind}                     {"displayName": ...}; "@odata.type" makes an agent; answers the id
    PATCH  /objects/{id}                       {"department": null} clears a property
    DELETE /objects/{id}                       into the recycle bin, where the kind has one
    POST   /objects/{id}/restore
    POST   /objects/{id}/purge
    PUT    /objects/{id}/{relation}/{target}   members, owners or manager
    DELETE /objects/{id}/{relation}/{target}
    POST   /objects/{id}/credentials           {"name": ..., "lifetime_seconds": 3600}: a secret; answers its key id
    DELETE /objects/{id}/credentials/{key_id}
    POST   /evolution                          {"steps": 100} makes random changes; answers the position of the log
    PUT    /recycle_bin                        {"days": 30}
"""

import uuid
from collections.abc import Mapping

from starlette.routing import Route

from emulator.control_verb import answering, number, text
from emulator.directory.credentials import moment, password_credential
from emulator.directory.evolution import Evolution
from emulator.directory.kinds import KINDS
from emulator.directory.object_store import ObjectStore
from emulator.directory.truth import truth

OBJECT = "/objects/{id}"
EDGE = f"{OBJECT}/{{relation}}/{{target}}"
TYPE = "@odata.type"
PREFIX = "#microsoft.graph."

type Body = Mapping[str, object]
type Path = Mapping[str, str]


class ObjectControl:
    """Has the `routes` that show and change the objects of one tenant."""

    def __init__(self, objects: ObjectStore, evolution: Evolution) -> None:
        self._objects = objects
        self._evolution = evolution
        self.routes = [
            Route("/objects", answering(self._show), methods=["GET"]),
            Route("/objects/{kind}", answering(self._create), methods=["POST"]),
            Route(OBJECT, answering(self._update), methods=["PATCH"]),
            Route(OBJECT, answering(self._delete), methods=["DELETE"]),
            Route(f"{OBJECT}/restore", answering(self._restore), methods=["POST"]),
            Route(f"{OBJECT}/purge", answering(self._purge), methods=["POST"]),
            Route(f"{OBJECT}/credentials", answering(self._add_credential), methods=["POST"]),
            Route(f"{OBJECT}/credentials/{{key_id}}", answering(self._remove_credential), methods=["DELETE"]),
            Route(EDGE, answering(self._link), methods=["PUT"]),
            Route(EDGE, answering(self._unlink), methods=["DELETE"]),
            Route("/evolution", answering(self._evolve), methods=["POST"]),
            Route("/recycle_bin", answering(self._set_days), methods=["PUT"]),
        ]

    def _show(self, _path: Path, _body: Body) -> Body:
        found = truth(self._objects)
        return {
            "position": found.position,
            "objects": [
                {
                    "id": each.id,
                    "kind": each.kind.name,
                    "type": each.type,
                    "state": each.state,
                    "properties": each.properties,
                }
                for each in found.objects.values()
            ],
            "edges": sorted(found.edges),
            "credentials": [
                {"object": object_id, "key_id": key_id, "name": held.name, "starts": held.starts, "ends": held.ends}
                for (object_id, key_id), held in found.credentials.items()
            ],
        }

    def _create(self, path: Path, body: Body) -> Body:
        type_ = text(body, TYPE).removeprefix(PREFIX) if TYPE in body else None
        properties = {name: value for name, value in body.items() if name != TYPE}
        return {"id": self._objects.create(KINDS[path["kind"]], properties, type_=type_)}

    def _update(self, path: Path, body: Body) -> None:
        self._objects.update(path["id"], body)

    def _delete(self, path: Path, _body: Body) -> None:
        self._objects.delete(path["id"])

    def _restore(self, path: Path, _body: Body) -> None:
        self._objects.restore(path["id"])

    def _purge(self, path: Path, _body: Body) -> None:
        self._objects.purge(path["id"])

    def _link(self, path: Path, _body: Body) -> None:
        self._objects.link(path["relation"], path["id"], path["target"])

    def _unlink(self, path: Path, _body: Body) -> None:
        self._objects.unlink(path["relation"], path["id"], path["target"])

    def _add_credential(self, path: Path, body: Body) -> Body:
        key_id, start = str(uuid.uuid4()), self._objects.now()
        end = moment(start + number(body, "lifetime_seconds"))
        added = password_credential(key_id, name=text(body, "name"), start=moment(start), end=end)
        self._objects.add_credential(path["id"], added)
        return {"key_id": key_id}

    def _remove_credential(self, path: Path, _body: Body) -> None:
        self._objects.remove_credential(path["id"], path["key_id"])

    def _evolve(self, _path: Path, body: Body) -> Body:
        self._evolution.run(int(number(body, "steps")))
        return {"position": self._objects.log.position}

    def _set_days(self, _path: Path, body: Body) -> Body:
        self._objects.recycle_bin_days = number(body, "days")
        return {"days": self._objects.recycle_bin_days}
