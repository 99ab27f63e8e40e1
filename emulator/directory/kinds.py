"""The kinds of directory objects: their names in Microsoft Graph, their properties and their relationships.

Source: https://learn.microsoft.com/graph/api/resources/user, .../group, .../serviceprincipal, .../application,
.../device
"""

from collections.abc import Mapping
from dataclasses import dataclass

MANAGER = "manager"
MEMBERS = "members"
OWNERS = "owners"
KEY_CREDENTIALS = "keyCredentials"
PASSWORD_CREDENTIALS = "passwordCredentials"
CREDENTIALS = (KEY_CREDENTIALS, PASSWORD_CREDENTIALS)


@dataclass(frozen=True)
class Kind:
    """One kind of directory object.

    Args:
        name: the segment of its address in Graph.
        type: its OData type, without the namespace.
        properties: that the local Graph has of it.
        usual: what Graph returns without `$select`.
        relations: its relationships; `$select` takes them in a delta query.
        elsewhere: properties that another service stores. Graph does not track them, and answers 501.
        derived: the other OData types that its address returns too.
    """

    name: str
    type: str
    properties: frozenset[str]
    usual: frozenset[str]
    relations: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()


USERS = Kind(
    name="users",
    type="user",
    properties=frozenset(
        {
            "accountEnabled", "businessPhones", "city", "companyName", "country", "createdDateTime", "department",
            "displayName", "employeeHireDate", "employeeId", "employeeType", "externalUserState", "givenName",
            "jobTitle", "mail", "mailNickname", "mobilePhone", "officeLocation", "onPremisesDistinguishedName",
            "onPremisesImmutableId", "onPremisesLastSyncDateTime", "onPremisesSamAccountName",
            "onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "onPremisesUserPrincipalName", "postalCode",
            "preferredLanguage", "proxyAddresses", "securityIdentifier", "state", "streetAddress", "surname",
            "usageLocation", "userPrincipalName", "userType",
        }
    ),
    usual=frozenset(
        {
            "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
            "preferredLanguage", "surname", "userPrincipalName",
        }
    ),
    relations=frozenset({MANAGER}),
    elsewhere=frozenset(
        {
            "aboutMe", "birthday", "hireDate", "interests", "mailboxSettings", "mySite", "pastProjects",
            "preferredName", "responsibilities", "schools", "skills",
        }
    ),
)  # fmt: skip
GROUPS = Kind(
    name="groups",
    type="group",
    properties=frozenset(
        {
            "classification", "createdDateTime", "description", "displayName", "groupTypes", "isAssignableToRole",
            "mail", "mailEnabled", "mailNickname", "membershipRule", "membershipRuleProcessingState",
            "onPremisesLastSyncDateTime", "onPremisesSamAccountName", "onPremisesSecurityIdentifier",
            "onPremisesSyncEnabled", "proxyAddresses", "securityEnabled", "securityIdentifier", "visibility",
        }
    ),
    usual=frozenset(
        {
            "createdDateTime", "description", "displayName", "groupTypes", "mail", "mailEnabled", "mailNickname",
            "onPremisesSyncEnabled", "securityEnabled", "visibility",
        }
    ),
    relations=frozenset({MEMBERS, OWNERS}),
    elsewhere=frozenset(
        {
            "allowExternalSenders", "autoSubscribeNewMembers", "hideFromAddressLists", "hideFromOutlookClients",
            "isSubscribedByMail", "unseenCount",
        }
    ),
)  # fmt: skip
_PRINCIPAL = frozenset(
    {
        "accountEnabled", "appDisplayName", "appId", "appOwnerOrganizationId", "appRoleAssignmentRequired",
        "createdDateTime", "description", "displayName", *CREDENTIALS, "servicePrincipalNames",
        "servicePrincipalType", "signInAudience", "tags",
    }
)  # fmt: skip
SERVICE_PRINCIPALS = Kind(
    name="servicePrincipals",
    type="servicePrincipal",
    properties=_PRINCIPAL,
    usual=_PRINCIPAL,
    derived=frozenset({"agentIdentity", "agentIdentityBlueprintPrincipal"}),
)
_APPLICATION = frozenset(
    {
        "appId", "createdDateTime", "description", "displayName", "identifierUris", *CREDENTIALS, "publisherDomain",
        "signInAudience", "tags",
    }
)  # fmt: skip
APPLICATIONS = Kind(
    name="applications",
    type="application",
    properties=_APPLICATION,
    usual=_APPLICATION,
    derived=frozenset({"agentIdentityBlueprint"}),
)
DEVICES = Kind(
    name="devices",
    type="device",
    properties=frozenset({"accountEnabled", "deviceId", "displayName", "operatingSystem"}),
    usual=frozenset({"accountEnabled", "deviceId", "displayName", "operatingSystem"}),
)
KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (USERS, GROUPS, SERVICE_PRINCIPALS, APPLICATIONS, DEVICES)
}  # fmt: skip
