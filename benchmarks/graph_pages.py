"""A Graph in memory, for every contender of the benchmark of the directory: nothing but the standard library."""

import json
import random
import re
import time
from typing import Any

ROOT = "https://graph.microsoft.com"
FIRST_LINK = f"{ROOT}/v1.0/users/delta"
COLUMNS = {
    "accountEnabled": "account_enabled",
    "displayName": "display_name",
    "mail": "mail",
    "userPrincipalName": "user_principal_name",
    "department": "department",
    "employeeId": "employee_id",
}
"""What a user has here, and what a contender stores of it."""
PAGE, GROUPS, MEMBERS = 200, 20, 50
"""Users of a page, groups of a page, and members of a group."""
_LINK = re.compile(r".*/v1\.0/(\w+)/delta(?:\(\))?\??(.*)")
_TODAY = time.time()


def object_id(kind: int, number: int) -> str:
    """Return the id of an object."""
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


class Pages:
    """A page at a time, and then nothing new.

    Args:
        users: how many there are: a tenth of it in groups, a hundredth in applications.
    """

    def __init__(self, users: int) -> None:
        self._whole = {"users": users, "groups": users // 10, "applications": users // 100}
        self._whole["servicePrincipals"] = self._whole["applications"]

    async def page(self, link: str) -> bytes:
        """Return the page that a link leads to."""
        found = _LINK.match(link)
        assert found, link
        kind, at = found.groups()
        if at == "$deltatoken=end":
            return json.dumps({"value": [], "@odata.deltaLink": link}).encode()
        begin = int(at.removeprefix("$skiptoken=")) if at.startswith("$skiptoken=") else 0
        whole = self._whole[kind]
        end = min(begin + (GROUPS if kind == "groups" else PAGE), whole)
        items = [self._item(kind, number) for number in range(begin, end)]
        name, token = (
            ("@odata.deltaLink", "$deltatoken=end") if end == whole else ("@odata.nextLink", f"$skiptoken={end}")
        )
        return json.dumps({"value": items, name: f"{ROOT}/v1.0/{kind}/delta?{token}"}).encode()

    def _item(self, kind: str, number: int) -> dict[str, Any]:
        match kind:
            case "users":
                return _user(number)
            case "groups":
                return _group(number, self._whole["users"])
            case "applications":
                return _owned(3, number)
        return _owned(4, number)


def _user(number: int) -> dict[str, Any]:
    name = f"user{number}"
    return {
        "id": object_id(1, number),
        "accountEnabled": True,
        "displayName": f"User {number}",
        "mail": f"{name}@contoso.example",
        "userPrincipalName": f"{name}@contoso.example",
        "department": f"Department {number % 40}",
        "employeeId": str(number),
        "manager@delta": [{"id": object_id(1, number // 10), "@odata.type": "#microsoft.graph.user"}],
    }


def _group(number: int, users: int) -> dict[str, Any]:
    drawn = random.Random(number)  # the same each time
    ids = [object_id(1, drawn.randrange(users)) for _ in range(MEMBERS)]
    members = [{"id": each, "@odata.type": "#microsoft.graph.user"} for each in ids]
    return {"id": object_id(2, number), "displayName": f"Group {number}", "members@delta": members}


def _owned(kind: int, number: int) -> dict[str, Any]:
    """Return an application, or its service principal, with a secret that ends within the year."""
    end = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(_TODAY + (number % 365 + 1) * 86_400))
    secret = {"keyId": object_id(5, number), "displayName": "deploy", "endDateTime": end}
    found = {"id": object_id(kind, number), "appId": object_id(6, number), "displayName": f"App {number}"}
    return {**found, "passwordCredentials": [secret], "keyCredentials": []}
