metadata description = 'vend in one resource group: vends tokens, no sync, reached from the address ranges that are listed.'

import { roles } from 'roles.bicep'

@description('Client id of the app registration that vend gets tokens as.')
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

@description('Object id of who makes the certificate in the vault and says who may call; empty for nobody.')
param operatorId string = ''

@description('What kind of principal that is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param operatorType string = 'User'

@description('Resource id of an existing role for signing in the vault; empty to make one.')
param signerRoleId string = ''

@description('Survive the loss of a zone; not every region has three.')
param zoneRedundant bool = false

@description('Region; it must have Flex Consumption.')
param location string = resourceGroup().location

var suffix = uniqueString(resourceGroup().id)
var appName = 'vend-${suffix}'
var vaultName = 'vend-${suffix}'
var hostStorageName = 'vendhost${suffix}'
var deploymentContainerName = 'deployment'
var configurationStorageName = 'vendconf${suffix}'
var configurationContainerName = 'configuration'
var callersUrl = 'https://${configurationStorageName}.blob.${environment().suffixes.storage}/${configurationContainerName}/callers.toml'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'vend-identity'
  location: location
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'vend-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 90
  }
}

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
    writerId: operatorId
    writerType: operatorType
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
    certificateOfficerId: operatorId
    certificateOfficerType: operatorType
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
    clientId: clientId
    callerIpRanges: callerIpRanges
    deployerIpRanges: deployerIpRanges
  }
  // Every role is assigned before the first instance starts.
  dependsOn: [host, configuration, vault, telemetry]
}

@description('Where vend answers.')
output VEND_URL string = app.outputs.url

@description('Name of the function app.')
output VEND_APP string = appName

@description('Resource id of the function app.')
output VEND_RESOURCE_ID string = app.outputs.id

@description('Name of the vault.')
output VEND_VAULT string = vaultName

// The app settings that vend.toml names, for whoever reads it elsewhere.
output TENANT_ID string = tenant().tenantId
output CLIENT_ID string = clientId
output AZURE_CLIENT_ID string = identity.properties.clientId
output KEY_VAULT_URL string = 'https://${vaultName}${environment().suffixes.keyvaultDns}'
output CALLERS_URL string = callersUrl
