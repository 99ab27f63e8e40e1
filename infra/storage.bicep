metadata description = 'A storage account without keys, one container in it, and who may do what there.'

import { roles } from 'roles.bicep'

@description('Globally unique.')
@minLength(3)
@maxLength(24)
param name string

@description('Region of the account.')
param location string

@description('Three copies in three zones instead of three in one building.')
param zoneRedundant bool

@description('The one container.')
param containerName string

@description('Whether overwritten blobs are kept as versions.')
param keepsVersions bool

@description('Whether deleted and overwritten blobs can be restored for 30 days.')
param keepsDeleted bool = true

@description('Resource id of the identity of the app: role assignments are named after it.')
param identityId string

@description('Object ID of the identity of the app.')
param principalId string

@description('Ids of the roles that the app gets on this account.')
param roleIds string[] = []

@description('Ids of the roles that the app gets on the container alone.')
param containerRoleIds string[] = []

@description('Object IDs of those who read the blobs of the container.')
param readerIds string[] = []

@description('Object IDs of those who write the blobs, beside the app.')
param writerIds string[] = []

@description('Resource id of the workspace that is told who reads and writes the blobs; empty for none.')
param auditWorkspaceId string = ''

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  kind: 'StorageV2'
  sku: { name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Flex Consumption without a virtual network has no address that a firewall could let in; roles are the wall.
    publicNetworkAccess: 'Enabled'
    networkAcls: { defaultAction: 'Allow', bypass: 'AzureServices' }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      deleteRetentionPolicy: keepsDeleted ? { enabled: true, days: 30 } : { enabled: false }
      containerDeleteRetentionPolicy: keepsDeleted ? { enabled: true, days: 30 } : { enabled: false }
      isVersioningEnabled: keepsVersions
    }

    resource container 'containers' = {
      name: containerName
    }
  }
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for roleId in roleIds: {
    scope: account
    name: guid(account.id, identityId, roleId)
    properties: {
      principalId: principalId
      // Without it, the directory may not know the new identity yet, and the deployment fails.
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleId)
    }
  }
]

resource containerAssignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for roleId in containerRoleIds: {
    scope: account::blobs::container
    name: guid(account::blobs::container.id, identityId, roleId)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleId)
    }
  }
]

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for readerId in readerIds: {
    scope: account::blobs::container
    name: guid(account::blobs::container.id, readerId, roles.blobReader)
    properties: {
      principalId: readerId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    }
  }
]

resource writers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for writerId in writerIds: {
    scope: account
    name: guid(account.id, writerId, roles.blobContributor)
    properties: {
      principalId: writerId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    }
  }
]

// A preview is the newest version that Azure has: https://learn.microsoft.com/azure/templates/microsoft.insights/diagnosticsettings
#disable-next-line use-recent-api-versions
resource auditLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditWorkspaceId)) {
  scope: account::blobs
  name: 'audit'
  properties: {
    workspaceId: auditWorkspaceId
    logs: [for category in ['StorageRead', 'StorageWrite', 'StorageDelete']: { category: category, enabled: true }]
  }
}
