"""The streams of the directory copy. Each is declared once, here.

The tables, their indexes, the views for readers, `$select` and the fingerprint of a stored link derive from the
declaration. A new stream, or a new column, is a change to this module alone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

from shared.core.directory.credentials import CredentialKind

COPY_VERSION = 1
"""Raised when every row must be read again although no `$select` changes: a property moves to another column."""


SINGLE = frozenset({"manager"})
"""The kinds of edges of which an object has one at most."""


class Lookup(StrEnum):
    """How readers search a column."""

    EXACT = "exact"
    """By the value as it is stored."""
    ANY_CASE = "any case"
    """By `lower(column)`: Entra compares names and addresses without regard to case."""


LOOKUP_LENGTH = 512
"""The most characters of a text in an index; Graph has 256. PostgreSQL refuses a whole page for an entry of more than
2,704 bytes in an index, and a character has up to four."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values of a property are stored.

    Args:
        name: the name in SQL.
        kind: the type of a value; each may also be null.
        lookup: how readers search the column, which gets an index for it; None if they do not.
    """

    name: str
    kind: type[str] | type[bool] = str
    lookup: Lookup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of directory object.

    Args:
        name: the name in settings and in the store.
        path: the path in Graph's API, after the version.
        type: the OData type of an object, without its namespace.
        permission: the least application permission of Graph that reads it.
        table: the name of the table that holds the columns: `directory_` and a noun.
        properties: by Graph's name, the column of each property that is copied.
        relations: by Graph's name, the kind of edge that each relationship to other objects is stored as.
        credentials: by Graph's name, the kind of credentials that each property holds. The stream then has the
            columns `app_id` and `display_name`.
        derived: other OData types whose objects the stream brings, such as those of agents.
        enabled_by: the column in which Graph says whether an object is enabled. The view for readers leaves out an
            object for which the column is false. None: the view has every object that is not deleted.
    """

    name: str
    path: str
    type: str
    permission: str
    table: str
    properties: Mapping[str, Column]
    relations: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, CredentialKind] = field(default_factory=dict)
    derived: tuple[str, ...] = ()
    enabled_by: str | None = None

    @property
    def view(self) -> str:
        """The name of the view for readers."""
        return f"active_{self.table.removeprefix('directory_')}s"

    def first_link(self, root: str) -> str:
        """Return the URL that starts a copy. Graph makes every later link."""
        names = (*self.properties, *self.credentials, *self.relations)
        return f"{root}/v1.0/{self.path}/delta?{urlencode({'$select': ','.join(names)}, safe=',$')}"

    def objects_link(self, root: str, ids: Sequence[str]) -> str:
        """Return the URL of some objects with all columns; of those that are active, as other reads are."""
        names = ",".join(f"'{oid}'" for oid in ids)
        query = {"$filter": f"id in ({names})", "$select": ",".join(("id", *self.properties, *self.credentials))}
        return f"{root}/v1.0/{self.path}?{urlencode(query, safe=',$()')}"

    def bin_link(self, root: str) -> str:
        """Return the URL of the recycle bin, with the largest pages that it has."""
        return f"{root}/v1.0/directory/deletedItems/microsoft.graph.{self.type}?$select=id&$top=999"

    def fingerprint(self, root: str) -> str:
        """Return a digest of what a stored link depends on. Another digest means that the link is of no use."""
        text = json.dumps([COPY_VERSION, self.first_link(root)])
        return hashlib.sha256(text.encode()).hexdigest()


USERS = Stream(
    name="users",
    path="users",
    type="user",
    permission="User.Read.All",
    table="directory_user",
    properties={
        "accountEnabled": Column("account_enabled", bool),
        "createdDateTime": Column("created_at"),
        "department": Column("department"),
        "displayName": Column("display_name"),
        "employeeId": Column("employee_id", lookup=Lookup.EXACT),
        "givenName": Column("given_name"),
        "jobTitle": Column("job_title"),
        "mail": Column("mail", lookup=Lookup.ANY_CASE),
        "officeLocation": Column("office_location"),
        "surname": Column("surname"),
        "userPrincipalName": Column("user_principal_name", lookup=Lookup.ANY_CASE),
        "userType": Column("user_type"),
    },
    relations={"manager": "manager"},
    enabled_by="account_enabled",
)
GROUPS = Stream(
    name="groups",
    path="groups",
    type="group",
    permission="GroupMember.Read.All",
    table="directory_group",
    properties={
        "createdDateTime": Column("created_at"),
        "description": Column("description"),
        "displayName": Column("display_name", lookup=Lookup.ANY_CASE),
        "mail": Column("mail", lookup=Lookup.ANY_CASE),
        "mailEnabled": Column("mail_enabled", bool),
        "securityEnabled": Column("security_enabled", bool),
        "visibility": Column("visibility"),
    },
    relations={"members": "member", "owners": "owner"},
)
_CREDENTIALS = {"keyCredentials": CredentialKind.KEY, "passwordCredentials": CredentialKind.SECRET}
# No owners: Graph's delta query has them of groups alone.
SERVICE_PRINCIPALS = Stream(
    name="servicePrincipals",
    path="servicePrincipals",
    type="servicePrincipal",
    derived=("agentIdentity", "agentIdentityBlueprintPrincipal"),
    permission="Application.Read.All",
    table="directory_service_principal",
    properties={
        "accountEnabled": Column("account_enabled", bool),
        "appDisplayName": Column("app_display_name"),
        "appId": Column("app_id", lookup=Lookup.EXACT),
        "appOwnerOrganizationId": Column("app_owner_organization_id"),
        "appRoleAssignmentRequired": Column("app_role_assignment_required", bool),
        "description": Column("description"),
        "displayName": Column("display_name", lookup=Lookup.ANY_CASE),
        "servicePrincipalType": Column("service_principal_type"),
        "signInAudience": Column("sign_in_audience"),
    },
    credentials=_CREDENTIALS,
    enabled_by="account_enabled",
)
APPLICATIONS = Stream(
    name="applications",
    path="applications",
    type="application",
    derived=("agentIdentityBlueprint",),
    permission="Application.Read.All",
    table="directory_application",
    properties={
        "appId": Column("app_id", lookup=Lookup.EXACT),
        "createdDateTime": Column("created_at"),
        "description": Column("description"),
        "displayName": Column("display_name", lookup=Lookup.ANY_CASE),
        "publisherDomain": Column("publisher_domain"),
        "signInAudience": Column("sign_in_audience"),
    },
    credentials=_CREDENTIALS,
)
STREAMS: Mapping[str, Stream] = {stream.name: stream for stream in (USERS, GROUPS, SERVICE_PRINCIPALS, APPLICATIONS)}
TYPES: Mapping[str, str] = {
    f"#microsoft.graph.{type_}": stream.name for stream in STREAMS.values() for type_ in (stream.type, *stream.derived)
}
"""By the OData type of an object at the other end of a relationship, the stream that brings it."""
