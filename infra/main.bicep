metadata description = 'vend in one resource group: vends tokens, syncs the directory into a blob, reached from the address ranges that are listed.'

import { roles } from 'roles.bicep'

@description('Client ID of the app registration that vend gets tokens as.')
@minLength(36)
@maxLength(36)
param clientId string

// At least one of each: App Service has been seen to let everybody in where a rule to deny stands alone
// (https://github.com/Azure/azure-dev/issues/1112).
@description('Address ranges (CIDR) of the services that may call vend. Nobody else reaches it.')
@minLength(1)
param callerIpRanges string[]

@description('Address ranges (CIDR) that may deploy code to the app. Nobody else reaches that endpoint.')
@minLength(1)
param deployerIpRanges string[]

@description('Object ID of a user, a group or a service principal.')
@minLength(36)
@maxLength(36)
type objectId = string

// Not the identity that deploys: a pipeline must not say who may call because it can deploy.
@description('The operators: they make the certificate, say who may call, and read the log. Nobody by default.')
param operatorIds objectId[] = []

@description('Resource id of an existing role for signing in the vault; empty to make one.')
param signerRoleId string = ''

@description('Resource id of an existing role for the host keys of the app; empty to make one.')
param keyOperatorRoleId string = ''

@description('Names of secrets in the vault that vend reads: client secrets, and certificates with signing = "local". None by default.')
param secretNames string[] = []

@description('Changes every name that must be unique: that of a deleted vault is taken for 90 days. Set it before the first deployment, and keep it.')
@maxLength(16)
param nameSalt string = ''

@description('Survive the loss of a zone; not every region has three.')
param zoneRedundant bool = false

@description('What a deployment does to the instances: restart all of them, or drain them batch by batch (a preview).')
@allowed(['Recreate', 'RollingUpdate'])
param updateStrategy string = 'Recreate'

@description('Run the directory sync.')
param syncEnabled bool = true

@description('Those who read the copy of the directory: groups, users or service principals. Nobody by default.')
param directoryReaderIds objectId[] = []

@description('Have the Python worker export metrics. The package needs azure-monitor-opentelemetry for it.')
param metricsEnabled bool = false

@description('Answer GET / with the page of the platform instead of 204.')
param homepageEnabled bool = false

@description('Gigabytes of logs a day, from which on the workspace drops what comes, audit lines too; -1 for no limit.')
@minValue(-1)
param dailyLogGb int = 5

@description('Months for which a certificate is good that an operator makes: a tenant may allow fewer.')
@minValue(1)
@maxValue(12)
param certificateMonths int = 12

@description('Percentage of that time after which Key Vault renews the certificate.')
@minValue(1)
@maxValue(90)
param certificateRenewalPercentage int = 80

@description('Region; it must have Flex Consumption.')
param location string = resourceGroup().location

// The key is made in the vault, and cannot leave it.
var certificatePolicy = {
  issuerParameters: { name: 'Self' }
  keyProperties: { exportable: false, keyType: 'RSA', keySize: 2048, reuseKey: false }
  lifetimeActions: [
    { trigger: { lifetimePercentage: certificateRenewalPercentage }, action: { actionType: 'AutoRenew' } }
  ]
  secretProperties: { contentType: 'application/x-pkcs12' }
  x509CertificateProperties: {
    subject: 'CN=vend'
    validityInMonths: certificateMonths
    keyUsage: ['digitalSignature']
    ekus: ['1.3.6.1.5.5.7.3.2']
  }
}

var suffix = uniqueString(resourceGroup().id, nameSalt)
var appName = 'vend-${suffix}'
var vaultName = 'vend-${suffix}'
var hostStorageName = 'vendhost${suffix}'
var deploymentContainerName = 'deployment'
var configurationStorageName = 'vendconf${suffix}'
var configurationContainerName = 'configuration'
var callersUrl = 'https://${configurationStorageName}.blob.${environment().suffixes.storage}/${configurationContainerName}/callers.toml'

var directoryStorageName = 'venddir${suffix}'
var directoryContainerName = 'directory'
var directoryUrl = 'https://${directoryStorageName}.blob.${environment().suffixes.storage}/${directoryContainerName}/directory.db'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'vend-identity'
  location: location
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'vend-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 90
    workspaceCapping: { dailyQuotaGb: dailyLogGb }
  }
}

resource logReaders 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operatorId in operatorIds: {
    scope: workspace
    name: guid(workspace.id, operatorId, roles.logReader)
    properties: {
      principalId: operatorId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.logReader)
    }
  }
]

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'vend-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, identity.id, roles.metricsPublisher)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
  }
}

module host 'storage.bicep' = {
  params: {
    name: hostStorageName
    location: location
    zoneRedundant: zoneRedundant
    containerName: deploymentContainerName
    keepsVersions: false
    identityId: identity.id
    principalId: identity.properties.principalId
    roleIds: [roles.blobOwner, roles.queueContributor, roles.tableContributor]
  }
}

// An account of its own, so that the app cannot write what it may do.
module configuration 'storage.bicep' = {
  params: {
    name: configurationStorageName
    location: location
    zoneRedundant: zoneRedundant
    containerName: configurationContainerName
    keepsVersions: true
    identityId: identity.id
    principalId: identity.properties.principalId
    roleIds: [roles.blobReader]
    writerIds: operatorIds
    auditWorkspaceId: workspace.id
  }
}

// An account of its own too: what protects the callers document, versions and soft delete, holds for whole accounts. It
// would keep the people that have left readable, and 30 days of whole files would be paid for.
module directory 'storage.bicep' = {
  params: {
    name: directoryStorageName
    location: location
    zoneRedundant: zoneRedundant
    containerName: directoryContainerName
    keepsVersions: false
    keepsDeleted: false
    identityId: identity.id
    principalId: identity.properties.principalId
    containerRoleIds: [roles.blobContributor]
    readerIds: directoryReaderIds
    auditWorkspaceId: workspace.id
  }
}

module vault 'vault.bicep' = {
  params: {
    name: vaultName
    location: location
    workspaceId: workspace.id
    identityId: identity.id
    principalId: identity.properties.principalId
    signerRoleId: signerRoleId
    signerRoleName: 'vend signer ${suffix}'
    secretNames: secretNames
    certificateOfficerIds: operatorIds
  }
}

module app 'app.bicep' = {
  params: {
    name: appName
    location: location
    planName: 'vend-plan'
    zoneRedundant: zoneRedundant
    identityId: identity.id
    identityClientId: identity.properties.clientId
    hostStorageName: hostStorageName
    deploymentContainerName: deploymentContainerName
    insightsConnectionString: insights.properties.ConnectionString
    vaultName: vaultName
    callersUrl: callersUrl
    directoryUrl: directoryUrl
    clientId: clientId
    callerIpRanges: callerIpRanges
    deployerIpRanges: deployerIpRanges
    updateStrategy: updateStrategy
    syncEnabled: syncEnabled
    metricsEnabled: metricsEnabled
    homepageEnabled: homepageEnabled
    keyOperatorIds: operatorIds
    keyOperatorRoleId: keyOperatorRoleId
    keyOperatorRoleName: 'vend key operator ${suffix}'
  }
  // Every role is assigned before the first instance starts.
  dependsOn: [host, configuration, directory, vault, telemetry]
}

@description('Where vend answers.')
output VEND_URL string = app.outputs.url

@description('Name of the function app.')
output VEND_APP string = appName

@description('Resource id of the function app.')
output VEND_RESOURCE_ID string = app.outputs.id

@description('Name of the vault.')
output VEND_VAULT string = vaultName

@description('Policy of the certificate of docs/deployment.md, as the commands for Key Vault take it.')
output CERTIFICATE_POLICY string = string(certificatePolicy)

// The app settings that vend.toml names, for whoever reads it elsewhere.
output TENANT_ID string = tenant().tenantId
output CLIENT_ID string = clientId
output AZURE_CLIENT_ID string = identity.properties.clientId
output KEY_VAULT_URL string = 'https://${vaultName}${environment().suffixes.keyvaultDns}'
output CALLERS_URL string = callersUrl
output DIRECTORY_URL string = directoryUrl
