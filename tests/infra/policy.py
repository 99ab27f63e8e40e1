"""What every shape of the deployment must hold: small functions over what would be deployed, each with its reason."""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emulator.vault.roles import PREFIX, ROLES
from shared.core.limits import Limits
from tests.infra.deployment import Deployment, Json, at, scope_of

# First version that stays, when the earlier ones end, and the page that announces it; by the start of the type.
RETIREMENTS = {
    "Microsoft.KeyVault/": (
        "2026-02-01",
        "27 February 2027",
        "https://learn.microsoft.com/azure/key-vault/general/access-control-default",
    ),
}
# Ids: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLE_NAMES = {
    "a4417e6f-fecd-4de8-b567-7b0420556985": "Key Vault Certificates Officer",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "3b03c2da-16b3-4a49-8834-0f8130efdd3b": "Log Analytics Data Reader",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
}
# What the custom roles may do, as actions and data actions; the name of the deployed role begins with this one.
CUSTOM_ROLES = {
    "vend signer": (set[str](), {PREFIX + action for action in ROLES["vend signer"]}),
    "vend key operator": (
        {
            "Microsoft.Web/sites/host/listkeys/action",
            "Microsoft.Web/sites/host/functionkeys/write",
            "Microsoft.Web/sites/host/functionkeys/delete",
        },
        set[str](),
    ),
}
# Who holds which role where; nobody holds any other.
GIVEN = {
    ("app", "Storage Blob Data Owner", "host storage"),
    ("app", "Storage Queue Data Contributor", "host storage"),
    ("app", "Storage Table Data Contributor", "host storage"),
    ("app", "Storage Blob Data Reader", "configuration storage"),
    ("app", "Storage Blob Data Contributor", "container for the directory"),
    ("app", "Monitoring Metrics Publisher", "insights"),
    ("app", "vend signer", "vault"),
    ("operator", "Key Vault Certificates Officer", "vault"),
    ("operator", "Storage Blob Data Contributor", "configuration storage"),
    ("operator", "vend key operator", "function app"),
    ("operator", "Log Analytics Data Reader", "workspace"),
}
# What a shape may give beside that.
CHOSEN = {
    ("app", "Key Vault Secrets User", "secret"),
    ("operator", "Storage Blob Data Reader", "container for the directory"),
}
# Refused at deployment (BadRequest 51021), in some regions only; or another plan's.
NOT_ON_FLEX = {
    "alwaysOn", "containerSize", "ftpsState", "functionAppScaleLimit", "functionsRuntimeScaleMonitoringEnabled",
    "javaVersion", "linuxFxVersion", "netFrameworkVersion", "powerShellVersion", "preWarmedInstanceCount",
    "use32BitWorkerProcess", "windowsFxVersion",
}  # fmt: skip
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
DEPRECATED_ON_FLEX = re.compile(
    r"ENABLE_ORYX_BUILD|FUNCTIONS_(EXTENSION_VERSION|MAX_HTTP_CONCURRENCY|WORKER_\w+)|SCM_DO_BUILD_DURING_DEPLOYMENT"
    r"|WEBSITE_(CONTENT\w*|MAX_DYNAMIC_APPLICATION_SCALE_OUT|RUN_FROM_PACKAGE|TIME_ZONE)"
)
ANYWHERE = {"0.0.0.0/0", "::/0", "Any", "Internet"}
KEYS = ("AccountKey=", "SharedAccessSignature", "listKeys(", "listAccountSas(", "listSecrets(")
MODERN_TLS = ("1.2", "1.3")
A_VAULT_SECRET = re.compile(r"/Microsoft\.KeyVault/vaults/[^/]+/secrets/[^/]+\Z")
A_SECRET = re.compile(r"SECRET|PASSW|PASSPHRASE|(^|_)(KEY|PAT|SAS|TOKEN)$", re.IGNORECASE)
# What operators are told to choose: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
CHOSEN_SETTINGS = (
    "AzureWebJobs.graph_sync.Disabled",
    "AzureWebJobsDisableHomepage",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the policy.

    Args:
        id: how reviews and cases name it.
        why: what goes wrong without it.
        remedy: what mends it.
        check: names everything that breaks it.
    """

    id: str
    why: str
    remedy: str
    check: Callable[[Deployment], Iterator[str]]


def _differs(resource: Json, wanted: dict[str, object]) -> Iterator[str]:
    """Name each value of a resource that is not the wanted one."""
    for path, value in wanted.items():
        if (found := at(resource, path)) != value:
            yield f"{resource['name']}: {path} is {found!r}, not {value!r}"


def _versions_that_stay(deployment: Deployment) -> Iterator[str]:
    for resource in deployment.resources:
        for start, (first, until, page) in RETIREMENTS.items():
            if resource["type"].startswith(start) and resource["apiVersion"] < first:
                yield f"{resource['name']}: {resource['apiVersion']} ends on {until}, see {page}"


def _encrypted(deployment: Deployment) -> Iterator[str]:
    yield from _differs(deployment.app, {"properties.httpsOnly": True})
    for name in ("minTlsVersion", "scmMinTlsVersion"):
        if at(deployment.app, f"properties.siteConfig.{name}") not in MODERN_TLS:
            yield f"{name} is missing or too old"


def _what_flex_takes(deployment: Deployment) -> Iterator[str]:
    policies = deployment.all("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    for name in ("scm", "ftp"):
        if not any(found["name"].endswith(f"/{name}") and found["properties"]["allow"] is False for found in policies):
            yield f"passwords are allowed for {name}"
    properties = deployment.app["properties"]
    yield from sorted(NOT_ON_FLEX & (properties.keys() | properties["siteConfig"].keys()))
    yield from _differs(deployment.app, {"properties.functionAppConfig.runtime": {"name": "python", "version": "3.13"}})


def _one_identity(deployment: Deployment) -> Iterator[str]:
    identities = list(at(deployment.app, "identity.userAssignedIdentities") or ())
    if at(deployment.app, "identity.type") != "UserAssigned" or len(identities) != 1:
        yield "the app has not exactly one identity, a user-assigned one"
    authentication = at(deployment.app, "properties.functionAppConfig.deployment.storage.authentication")
    for identity in identities:
        if authentication != {"type": "UserAssignedIdentity", "userAssignedIdentityResourceId": identity}:
            yield "the deployed package is not read with the identity"
    settings = deployment.settings
    if settings.get("AzureWebJobsStorage__credential") != "managedidentity":
        yield "the host's storage is not used with an identity"
    if (
        not settings.get("AZURE_CLIENT_ID")
        or settings.get("AzureWebJobsStorage__clientId") != settings["AZURE_CLIENT_ID"]
    ):
        yield "host and app do not use the same identity"


def _admin_is_isolated(deployment: Deployment) -> Iterator[str]:
    yield from _differs(deployment.app, {"properties.functionsRuntimeAdminIsolationEnabled": True})


def _no_browser_no_debugger(deployment: Deployment) -> Iterator[str]:
    if at(deployment.app, "properties.siteConfig.cors") is not None:
        yield "cors is set"
    if at(deployment.app, "properties.siteConfig.remoteDebuggingEnabled") is True:
        yield "remote debugging is on"


def _who_reaches_it(deployment: Deployment) -> Iterator[str]:
    if at(deployment.app, "properties.publicNetworkAccess") == "Disabled":
        return
    site = deployment.app["properties"]["siteConfig"]
    if site.get("scmIpSecurityRestrictionsUseMain") is True:
        yield "callers reach the deployment endpoint"
    for rules in ("ipSecurityRestrictions", "scmIpSecurityRestrictions"):
        if site.get(f"{rules}DefaultAction") != "Deny":
            yield f"{rules}: who is not listed gets in"
        if not site.get(rules):
            yield f"{rules}: nobody is listed, and then everybody may get in"
        for rule in site.get(rules, ()):
            if rule.get("ipAddress") in {None, *ANYWHERE}:
                yield f"{rules}: {rule['name']} lets everybody in"
            elif not _is_network(rule["ipAddress"]):
                yield f"{rules}: {rule['name']} is no network in CIDR notation"


def _is_network(text: str) -> bool:
    try:
        return str(ipaddress.ip_network(text)) == text
    except ValueError:
        return False


def _storage_without_keys(deployment: Deployment) -> Iterator[str]:
    for account in deployment.accounts:
        yield from _differs(
            account,
            {
                "properties.allowSharedKeyAccess": False,
                "properties.allowBlobPublicAccess": False,
                "properties.supportsHttpsTrafficOnly": True,
                "properties.minimumTlsVersion": "TLS1_2",
                "properties.defaultToOAuthAuthentication": True,
            },
        )


def _three_accounts(deployment: Deployment) -> Iterator[str]:
    hosts = [account["name"] for account in deployment.accounts if deployment.is_host_storage(account)]
    directories = [account["name"] for account in deployment.accounts if deployment.is_directory_storage(account)]
    if (len(hosts), len(directories), len({*hosts, *directories}), len(deployment.accounts)) != (1, 1, 2, 3):
        yield "there are not three storage accounts: for the host, for the configuration and for the directory"
    package = at(deployment.app, "properties.functionAppConfig.deployment.storage.value")
    if not any(host in package for host in hosts):
        yield "the deployed package does not lie in the host's account"
    text = json.dumps(deployment.resources)
    yield from (f"{key} appears" for key in KEYS if key in text)


def _deleted_is_not_gone(deployment: Deployment) -> Iterator[str]:
    for account in deployment.accounts:
        wanted: dict[str, object] = {
            "properties.deleteRetentionPolicy.enabled": True,
            "properties.containerDeleteRetentionPolicy.enabled": True,
        }
        if deployment.is_directory_storage(account):
            continue
        if not deployment.is_host_storage(account):
            wanted["properties.isVersioningEnabled"] = True
        yield from _differs(_blobs_of(account, deployment), wanted)


def _blobs_of(account: Json, deployment: Deployment) -> Json:
    """Find the settings of an account that are about its blobs."""
    (found,) = (
        blobs
        for blobs in deployment.all("Microsoft.Storage/storageAccounts/blobServices")
        if blobs["id"].startswith(f"{account['id']}/")
    )
    return found


def _who_has_left_is_gone(deployment: Deployment) -> Iterator[str]:
    for account in deployment.accounts:
        if deployment.is_directory_storage(account):
            kept = ("deleteRetentionPolicy.enabled", "containerDeleteRetentionPolicy.enabled", "isVersioningEnabled")
            yield from _differs(_blobs_of(account, deployment), {f"properties.{name}": False for name in kept})


def _audited(deployment: Deployment, *categories: str) -> set[str]:
    """Find the ids of what tells the workspace about all these categories."""
    return {
        scope_of(setting)
        for setting in deployment.all("Microsoft.Insights/diagnosticSettings")
        if at(setting, "properties.workspaceId")
        and all({"category": name, "enabled": True} in setting["properties"]["logs"] for name in categories)
    }


def _who_changed_the_callers(deployment: Deployment) -> Iterator[str]:
    audited = _audited(deployment, "StorageRead", "StorageWrite", "StorageDelete")
    for account in deployment.accounts:
        if not deployment.is_host_storage(account) and f"{account['id']}/blobServices/default" not in audited:
            yield f"{account['name']}: who reads and changes its blobs is not logged"


def _the_vault_is_kept(deployment: Deployment) -> Iterator[str]:
    audited = _audited(deployment, "AuditEvent")
    for vault in deployment.all("Microsoft.KeyVault/vaults"):
        yield from _differs(
            vault,
            {
                "properties.enableRbacAuthorization": True,
                "properties.accessPolicies": None,
                "properties.enableSoftDelete": True,
                "properties.softDeleteRetentionInDays": 90,
                "properties.enablePurgeProtection": True,
            },
        )
        if vault["id"] not in audited:
            yield f"{vault['name']}: who uses its keys is not logged"


def _the_key_stays(deployment: Deployment) -> Iterator[str]:
    key = deployment.certificate["keyProperties"]
    if key["exportable"] is not False or key["reuseKey"] is not False:
        yield "the key can leave the vault, or outlives its certificate"
    renewed = {
        action["trigger"]["lifetimePercentage"]
        for action in deployment.certificate["lifetimeActions"]
        if action["action"]["actionType"] == "AutoRenew"
    }
    if not renewed or min(renewed) > 90:
        yield "the certificate is not renewed in time before its end"


def _least_privilege(deployment: Deployment) -> Iterator[str]:
    names = dict(ROLE_NAMES)
    for role in deployment.all("Microsoft.Authorization/roleDefinitions"):
        names[role["name"]] = name = role["properties"]["roleName"].rpartition(" ")[0]
        for permission in role["properties"]["permissions"]:
            found = set(permission["actions"]), set(permission["dataActions"])
            if found != CUSTOM_ROLES.get(name):
                yield f"{role['properties']['roleName']}: may do {found}"
    places = {
        account["id"]: "host storage" if deployment.is_host_storage(account) else "configuration storage"
        for account in deployment.accounts
        if not deployment.is_directory_storage(account)
    }
    for account in filter(deployment.is_directory_storage, deployment.accounts):
        places[f"{account['id']}/blobServices/default/containers/directory"] = "container for the directory"
    for kind, place in (
        ("Microsoft.Insights/components", "insights"),
        ("Microsoft.OperationalInsights/workspaces", "workspace"),
        ("Microsoft.KeyVault/vaults", "vault"),
        ("Microsoft.Web/sites", "function app"),
    ):
        places |= {resource["id"]: place for resource in deployment.all(kind)}
    given = set()
    for assignment in deployment.roles_given:
        properties = assignment["properties"]
        who = "app" if "/userAssignedIdentities/" in properties["principalId"] else "operator"
        if properties.get("principalType") != ("ServicePrincipal" if who == "app" else None):
            yield f"{assignment['id']}: principalType must be set for the app's identity, and for nobody else"
        role = properties["roleDefinitionId"]
        name = names.get(role.rpartition("/")[2], role)
        scope = scope_of(assignment)
        given.add((who, name, "secret" if A_VAULT_SECRET.search(scope) else places.get(scope, scope)))
    yield from (f"{who} holds {role} on {place}" for who, role, place in sorted(given - GIVEN - CHOSEN))
    yield from (f"{who} lacks {role} on {place}" for who, role, place in sorted(GIVEN - given))


def _telemetry_has_no_key(deployment: Deployment) -> Iterator[str]:
    for insights in deployment.all("Microsoft.Insights/components"):
        yield from _differs(insights, {"properties.DisableLocalAuth": True})
        if not at(insights, "properties.WorkspaceResourceId"):
            yield f"{insights['name']}: has no workspace"
    if "Authorization=AAD" not in deployment.settings.get("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", ""):
        yield "the host does not write to it with an identity"


def _no_secret_by_name(deployment: Deployment) -> Iterator[str]:
    yield from (f"the app setting {name} holds a secret" for name in deployment.settings if A_SECRET.search(name))
    yield from (f"the output {name} holds a secret" for name in deployment.outputs if A_SECRET.search(name))


def _scale_is_explicit(deployment: Deployment) -> Iterator[str]:
    scale = at(deployment.app, "properties.functionAppConfig.scaleAndConcurrency")
    if not any(ready["name"] == "http" and ready["instanceCount"] >= 1 for ready in scale.get("alwaysReady", ())):
        yield "no instance is always ready for callers"
    for path in ("maximumInstanceCount", "instanceMemoryMB", "triggers.http.perInstanceConcurrency"):
        if not isinstance(at(scale, path), int):
            yield f"{path} is left to the platform"
    if (at(scale, "triggers.http.perInstanceConcurrency") or 0) < 2 * Limits().waiting_max:
        yield "requests that wait for a hung upstream make the platform add instances with empty caches"
    if at(deployment.one("Microsoft.Web/serverfarms"), "properties.zoneRedundant") is None:
        yield "zoneRedundant is left to the platform"


def _nothing_samples_the_audit(deployment: Deployment) -> Iterator[str]:
    for path in ("functionTimeout", "extensionBundle.version"):
        if not at(deployment.host, path):
            yield f"host.json: {path} is missing"
    if at(deployment.host, "logging.logLevel.default") != "Information":
        yield "host.json: events are written at Information, and that level is off"
    if at(deployment.host, "logging.applicationInsights.samplingSettings.isEnabled") is not False:
        yield "host.json: sampling drops audit lines"


def _timers(deployment: Deployment) -> Iterator[str]:
    for name, trigger in deployment.triggers.items():
        if trigger["trigger"] != "timer_trigger":
            continue
        if not re.fullmatch(r"%\w+_SCHEDULE%", trigger.get("schedule", "")):
            yield f"{name}: its schedule is no app setting"
        if trigger.get("run_on_startup") is not False or trigger.get("use_monitor") is not True:
            yield f"{name}: runs at every start, or forgets a run that was due"
    for name, value in deployment.settings.items():
        if name.endswith("_SCHEDULE") and len(value.split()) != 6:
            yield f"{name} has not the six fields of a schedule"


def _the_rotation_runs(deployment: Deployment) -> Iterator[str]:
    trigger = deployment.triggers.get("certificate_rotation", {})
    if trigger.get("schedule") != "%CERTIFICATE_ROTATION_SCHEDULE%":
        yield "certificate_rotation: is no function with that schedule"
    if not re.fullmatch(r"0 [0-5]?\d \* \* \* \*", deployment.settings.get("CERTIFICATE_ROTATION_SCHEDULE", "")):
        yield "CERTIFICATE_ROTATION_SCHEDULE is not once an hour"
    if "AzureWebJobs.certificate_rotation.Disabled" in deployment.settings:
        yield "certificate_rotation is switched off"


def _choices_are_parameters(deployment: Deployment) -> Iterator[str]:
    for name in CHOSEN_SETTINGS:
        if deployment.settings.get(name) not in {"true", "false"}:
            yield f"{name} is left to whoever sets it by hand"
    if at(deployment.app, "properties.functionAppConfig.siteUpdateStrategy.type") not in {"Recreate", "RollingUpdate"}:
        yield "the update strategy is left to whoever sets it by hand"
    if deployment.certificate["x509CertificateProperties"]["validityInMonths"] not in range(1, 13):
        yield "the validity of the certificate is none of its parameter"


def _logs_have_a_price(deployment: Deployment) -> Iterator[str]:
    levels = at(deployment.host, "logging.logLevel")
    for name, below in (("Function", "Warning"), ("Host.Results", "Error"), ("Host.Aggregator", "Warning")):
        if levels.get(name) != below:
            yield f"host.json: {name} must be {below}, or the host adds lines of its own to each answer"
    for name in deployment.triggers:
        if levels.get(f"Function.{name}.User") != "Information":
            yield f"host.json: the events of {name} are not logged"
    for workspace in deployment.all("Microsoft.OperationalInsights/workspaces"):
        if at(workspace, "properties.workspaceCapping.dailyQuotaGb") is None:
            yield f"{workspace['name']}: has no daily limit"


def _settings_of_flex(deployment: Deployment) -> Iterator[str]:
    settings = deployment.settings
    if "PYTHON_THREADPOOL_THREAD_COUNT" not in settings:
        yield "PYTHON_THREADPOOL_THREAD_COUNT is left to the platform"
    yield from (f"{name} is not for this plan" for name in settings if DEPRECATED_ON_FLEX.fullmatch(name))


def _the_vault_is_locked(deployment: Deployment) -> Iterator[str]:
    locks = deployment.all("Microsoft.Authorization/locks")
    locked = {scope_of(lock) for lock in locks if lock["properties"]["level"] == "CanNotDelete"}
    for vault in deployment.all("Microsoft.KeyVault/vaults"):
        if vault["id"] not in locked:
            yield f"{vault['name']}: can be deleted by mistake"


POLICY = (
    Rule(
        "INF-00",
        "A version of an API that has ended refuses the next deployment.",
        "Use the version that RETIREMENTS names, or a newer one.",
        _versions_that_stay,
    ),
    Rule(
        "INF-01",
        "A function key or a token that crosses a network in the clear is everybody's.",
        "httpsOnly: true, and TLS 1.2 or newer for the app and its deployment endpoint.",
        _encrypted,
    ),
    Rule(
        "INF-03",
        "A publishing password is a secret nobody rotates; a setting of another plan fails the deployment, in some "
        "regions; a wrong runtime version starts nothing and does not say why.",
        "Forbid passwords for scm and ftp, take the setting out of siteConfig, and name python 3.13 exactly.",
        _what_flex_takes,
    ),
    Rule(
        "INF-05",
        "Whatever the platform reads with a key has a key that can leak.",
        "One user-assigned identity for host storage, deployment storage and vault.",
        _one_identity,
    ),
    Rule(
        "INF-06",
        "The host's /admin endpoints take the master key, and can read every other key.",
        "functionsRuntimeAdminIsolationEnabled: true.",
        _admin_is_isolated,
    ),
    Rule(
        "INF-07",
        "A function key never belongs into a browser; a debugger reads tokens out of memory.",
        "No cors at all, no remote debugging.",
        _no_browser_no_debugger,
    ),
    Rule(
        "INF-08",
        "A function key guards the app; nobody guards it from being guessed at from everywhere.",
        "Deny by default, for the app and for its deployment endpoint, and list at least one network for each.",
        _who_reaches_it,
    ),
    Rule(
        "INF-10",
        "The host's storage holds code and function keys: whoever reads it is every caller.",
        "No shared keys, no public blobs, HTTPS and TLS 1.2 alone, Entra by default.",
        _storage_without_keys,
    ),
    Rule(
        "INF-13",
        "An app that can write its own callers document can grant itself everything.",
        "One account for host and package, one for the configuration, and no account key anywhere.",
        _three_accounts,
    ),
    Rule(
        "INF-14",
        "A document that was overwritten or deleted by mistake is otherwise gone.",
        "Soft delete for blobs and containers; versions where the configuration lies.",
        _deleted_is_not_gone,
    ),
    Rule(
        "INF-15",
        "Who may call is who may have tokens: a change that nobody can trace is a hole. Who read the directory, which "
        "is personal data, may be asked.",
        "Diagnostic settings of the storage for the configuration and for the directory: StorageRead, StorageWrite, "
        "StorageDelete to the workspace.",
        _who_changed_the_callers,
    ),
    Rule(
        "INF-16",
        "Access policies escape a review of the roles, a purged vault is gone, and one without a log tells nothing.",
        "Roles alone, 90 days of soft delete, purge protection, AuditEvent to the workspace.",
        _the_vault_is_kept,
    ),
    Rule(
        "INF-21",
        "A key that can be exported is one copy away from being everywhere; an expired one stops every caller.",
        "exportable: false, reuseKey: false, AutoRenew in the output CERTIFICATE_POLICY.",
        _the_key_stays,
    ),
    Rule(
        "INF-22",
        "What the app may do is what somebody who breaks into it may do.",
        "The assignments of GIVEN, and at most those of CHOSEN; the roles of CUSTOM_ROLES; principalType for the app's "
        "identity alone.",
        _least_privilege,
    ),
    Rule(
        "INF-23",
        "An instrumentation key lets anybody write false audit lines.",
        "Workspace-based Application Insights, DisableLocalAuth, and Authorization=AAD in the app settings.",
        _telemetry_has_no_key,
    ),
    Rule(
        "INF-25",
        "Whoever reads the settings or the deployments of the group reads its secrets too.",
        "No secret in an app setting or an output; the identity needs none.",
        _no_secret_by_name,
    ),
    Rule(
        "INF-27",
        "A cold start is a caller that waits; the platform's default for Python is one request per instance, "
        "and each instance has an empty cache.",
        "One instance always ready, explicit memory, maximum and zone redundancy, and twice waiting_max at once.",
        _scale_is_explicit,
    ),
    Rule(
        "INF-28",
        "The audit lines are traces: sampled, they answer no question.",
        "host.json: functionTimeout, extension bundle, level Information, sampling off.",
        _nothing_samples_the_audit,
    ),
    Rule(
        "INF-29",
        "A schedule of five fields is read as another one; a run at every start is one for each instance.",
        "Six fields, seconds first, from an app setting; run_on_startup=False, use_monitor=True.",
        _timers,
    ),
    Rule(
        "INF-30",
        "The next provision replaces all app settings: what an operator has set by hand is gone.",
        "A parameter for each choice, and its value in the template.",
        _choices_are_parameters,
    ),
    Rule(
        "INF-31",
        "A setting that Flex Consumption no longer reads misleads, or fails the deployment.",
        "Set PYTHON_THREADPOOL_THREAD_COUNT; move the others to functionAppConfig.",
        _settings_of_flex,
    ),
    Rule(
        "INF-33",
        "Two lines of the host for each line of vend triple the price of the log; a flood has no end.",
        "One line for each answer by the levels of host.json, and a daily limit of the workspace.",
        _logs_have_a_price,
    ),
    Rule(
        "INF-34",
        "A deleted vault stops every caller within the hour.",
        "A CanNotDelete lock on the vault.",
        _the_vault_is_locked,
    ),
    Rule(
        "INF-37",
        "A renewed certificate that nobody registers is an outage when the old one ends; a run each minute fills the "
        "app registration with keys.",
        "The function certificate_rotation, with CERTIFICATE_ROTATION_SCHEDULE once an hour.",
        _the_rotation_runs,
    ),
    Rule(
        "INF-38",
        "An earlier version of the file of the directory has the people in it that were purged since.",
        "The account of DIRECTORY_URL has neither versions nor soft delete: the file can always be made anew.",
        _who_has_left_is_gone,
    ),
)
