"""The credentials of applications and the rules for them, by the control API of the local cloud.

    POST   /applications/{client_id}/certificates                {"certificate": "<base64 of DER>"}, or
                                                                 {"lifetime_days": 90} for a new one: the answer has it
                                                                 and its key, in `pem`
    DELETE /applications/{client_id}/certificates/{id}
    POST   /applications/{client_id}/secrets                     {"lifetime_seconds": 3600}; the answer has the value
    POST   /applications/{client_id}/federated_credentials       {"issuer": ..., "subject": ..., "audience": ...}
    DELETE /applications/{client_id}/federated_credentials/{id}
    PUT    /directory                                            {"propagation_seconds": 300, "key_lifetime_days": 90}

What is added has an id in the answer. `key_lifetime_days` is the longest life of a certificate that an application
registers by itself, and null lifts that rule.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace

from starlette.routing import Route

from emulator.control_verb import answering, number, text
from emulator.directory.key_pair import key_pair
from emulator.directory.store import Directory

DAY = 86400
CERTIFICATES = "/applications/{client_id}/certificates"
FEDERATED_CREDENTIALS = "/applications/{client_id}/federated_credentials"


class DirectoryControl:
    """Has the `routes` that change one directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.routes = [
            Route(CERTIFICATES, answering(self._add_certificate), methods=["POST"]),
            Route(f"{CERTIFICATES}/{{id}}", answering(self._remove_certificate), methods=["DELETE"]),
            Route("/applications/{client_id}/secrets", answering(self._add_secret), methods=["POST"]),
            Route(FEDERATED_CREDENTIALS, answering(self._add_federated), methods=["POST"]),
            Route(f"{FEDERATED_CREDENTIALS}/{{id}}", answering(self._remove_federated), methods=["DELETE"]),
            Route("/directory", answering(self._set_rules), methods=["PUT"]),
        ]

    def _add_certificate(self, path: Mapping[str, str], body: Mapping[str, object]) -> Mapping[str, object]:
        if "certificate" in body:
            der = base64.b64decode(text(body, "certificate"), validate=True)
            return {"id": self._directory.register_certificate(path["client_id"], der)}
        days = number(body, "lifetime_days")
        der, pem = key_pair("client", now=self._directory.now(), days=days)
        return {"id": self._directory.register_certificate(path["client_id"], der), "pem": pem}

    def _remove_certificate(self, path: Mapping[str, str], _body: Mapping[str, object]) -> None:
        self._directory.remove_certificate(path["client_id"], path["id"])

    def _add_secret(self, path: Mapping[str, str], body: Mapping[str, object]) -> Mapping[str, object]:
        lifetime = number(body, "lifetime_seconds")
        return {"secret": self._directory.add_secret(path["client_id"], lifetime=lifetime)}

    def _add_federated(self, path: Mapping[str, str], body: Mapping[str, object]) -> Mapping[str, object]:
        added = self._directory.add_federated_credential(
            path["client_id"],
            issuer=text(body, "issuer"),
            subject=text(body, "subject"),
            audience=text(body, "audience"),
        )
        return {"id": added}

    def _remove_federated(self, path: Mapping[str, str], _body: Mapping[str, object]) -> None:
        self._directory.remove_federated_credential(path["client_id"], path["id"])

    def _set_rules(self, _path: Mapping[str, str], body: Mapping[str, object]) -> Mapping[str, object]:
        directory = self._directory
        delay, policy = directory.propagation_seconds, directory.key_policy
        if unknown := body.keys() - {"propagation_seconds", "key_lifetime_days"}:
            raise ValueError(f"the directory has no {', '.join(sorted(unknown))}")
        if "propagation_seconds" in body:
            delay = number(body, "propagation_seconds")
        if "key_lifetime_days" in body:
            days = None if body["key_lifetime_days"] is None else number(body, "key_lifetime_days")
            policy = replace(policy, longest_life=None if days is None else days * DAY)
        directory.propagation_seconds, directory.key_policy = delay, policy
        longest = policy.longest_life
        return {
            "propagation_seconds": delay,
            "key_lifetime_days": None if longest is None else longest / DAY,
        }
