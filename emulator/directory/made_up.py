"""Made-up properties of one object of each kind: the same for the same index and digits (128 random bits)."""

from collections.abc import Mapping

DOMAIN = "contoso.onmicrosoft.com"
GIVEN_NAMES = (
    "Ada", "Amir", "Anna", "Boris", "Carla", "Chidi", "Dana", "Elif", "Emil", "Farah", "Gita", "Hugo", "Ines", "Ivan",
    "Jana", "Jun", "Kofi", "Lea", "Luis", "Mai", "Nils", "Nora", "Omar", "Pia", "Ravi", "Sara", "Timo", "Uma", "Vera",
    "Wei", "Yara", "Zoé",
)  # fmt: skip
SURNAMES = (
    "Abe", "Adeyemi", "Alvarez", "Baker", "Bauer", "Costa", "Diaz", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad",
    "Horvat", "Ito", "Jansen", "Kaya", "Khan", "Kim", "Kowalski", "Lee", "Lopez", "Meyer", "Moreau", "Müller", "Nagy",
    "Ncube", "O'Brien", "Okafor", "Olsen", "Patel", "Petrov", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith",
    "Tanaka", "Virtanen", "Weber", "Yilmaz",
)  # fmt: skip
DEPARTMENTS = ("Engineering", "Finance", "Legal", "Marketing", "Operations", "People", "Sales", "Support")
TITLES = ("Analyst", "Assistant", "Consultant", "Engineer", "Lead", "Specialist")
OFFICES = ("Berlin/2", "Lagos/1", "Lisbon/4", "Osaka/7", "Pune/3")

SECURITY: Mapping[str, object] = {"groupTypes": [], "mailEnabled": False, "securityEnabled": True}
MICROSOFT_365: Mapping[str, object] = {"groupTypes": ["Unified"], "mailEnabled": True, "securityEnabled": False}
DISTRIBUTION: Mapping[str, object] = {"groupTypes": [], "mailEnabled": True, "securityEnabled": False}
MAIL_ENABLED_SECURITY: Mapping[str, object] = {"groupTypes": [], "mailEnabled": True, "securityEnabled": True}
SYNCED: Mapping[str, object] = {**SECURITY, "onPremisesSyncEnabled": True}
HIDDEN: Mapping[str, object] = {**MICROSOFT_365, "visibility": "HiddenMembership"}
SPECIAL = (MICROSOFT_365, DISTRIBUTION, MAIL_ENABLED_SECURITY, SYNCED)


def user(index: int, digits: int) -> Mapping[str, object]:
    """Return a person; a third has a phone, three quarters have an office, half have an employee id."""
    given, surname = GIVEN_NAMES[digits % 32], SURNAMES[(digits >> 8) % len(SURNAMES)]
    address = f"user{index}@{DOMAIN}"
    properties: dict[str, object] = {
        "accountEnabled": index % 50 != 49,
        "businessPhones": [f"+49 30 5550{index:06}"] if index % 3 == 0 else [],
        "createdDateTime": _created(index),
        "department": DEPARTMENTS[(digits >> 16) % len(DEPARTMENTS)],
        "displayName": f"{given} {surname}",
        "givenName": given,
        "jobTitle": TITLES[(digits >> 24) % len(TITLES)],
        "mail": address,
        "surname": surname,
        "userPrincipalName": address,
        "userType": "Member",
    }
    if index % 4:
        properties["officeLocation"] = OFFICES[(digits >> 32) % len(OFFICES)]
    if index % 2:
        properties["employeeId"] = f"E{index:07}"
    return properties


def group(index: int, digits: int, *, special: bool) -> Mapping[str, object]:
    """Return a group: security, or one of SPECIAL. Every second block of those begins with a hidden membership."""
    named: dict[str, object] = {
        "createdDateTime": _created(index),
        "displayName": f"{DEPARTMENTS[digits % len(DEPARTMENTS)]} {index}",
        "mailNickname": f"group{index}",
    }
    if not special:
        return {**named, **SECURITY}
    kind = HIDDEN if index % 32 == 20 else SPECIAL[index % 4]
    address = {"mail": f"group{index}@{DOMAIN}"} if kind["mailEnabled"] else {}
    return {**named, **kind, **address}


def service_principal(index: int, *, app_id: str) -> dict[str, object]:
    """Return the service principal of the application at the same index."""
    return {
        "accountEnabled": True,
        "appDisplayName": f"app{index}",
        "appId": app_id,
        "createdDateTime": _created(index),
        "displayName": f"app{index}",
        "servicePrincipalNames": [app_id],
        "servicePrincipalType": "Application",
        "tags": [],
    }


def application(index: int, *, app_id: str) -> dict[str, object]:
    """Return an app registration."""
    return {
        "appId": app_id,
        "createdDateTime": _created(index),
        "displayName": f"app{index}",
        "identifierUris": [f"api://{app_id}"] if index % 2 else [],
        "publisherDomain": DOMAIN,
        "signInAudience": "AzureADMyOrg",
        "tags": [],
    }


def device(index: int, *, device_id: str) -> Mapping[str, object]:
    """Return a device."""
    return {
        "accountEnabled": True,
        "deviceId": device_id,
        "displayName": f"PC-{index:05}",
        "operatingSystem": "Windows",
    }


def _created(index: int) -> str:
    return f"2024-{index % 12 + 1:02}-{index % 28 + 1:02}T08:00:00Z"
