metadata description = 'The function app: its plan, its settings, and who reaches it.'

@description('Globally unique.')
param name string

@description('Region of the app.')
param location string

@description('Name of the plan.')
param planName string

@description('Instances in three zones; the platform then wants two that are always ready.')
param zoneRedundant bool

@description('Resource id of the identity of the app.')
param identityId string

@description('Client ID of the identity of the app.')
param identityClientId string

@description('Storage account of the host.')
param hostStorageName string

@description('Container in it that holds the deployed package.')
param deploymentContainerName string

@description('Connection string of Application Insights: a key alone does not write there.')
param insightsConnectionString string

@description('Name of the vault.')
param vaultName string

@description('URL of the blob that says who may have what.')
param callersUrl string

@description('URL of the blob that holds the copy of the directory.')
param directoryUrl string

@description('Client ID of the app registration that vend gets tokens as.')
param clientId string

@description('Address ranges (CIDR) that may call the app.')
param callerIpRanges string[]

@description('Address ranges (CIDR) that may deploy code to it.')
param deployerIpRanges string[]

@description('Recreate or RollingUpdate.')
param updateStrategy string

@description('Run the directory sync.')
param syncEnabled bool

@description('Have the Python worker export metrics.')
param metricsEnabled bool

@description('Answer GET / with the page of the platform.')
param homepageEnabled bool

@description('Object IDs of those who make and delete the keys of callers.')
param keyOperatorIds string[]

@description('Resource id of an existing role for the host keys; empty to make one.')
param keyOperatorRoleId string

@description('Name of the role that is made; unique in the tenant.')
param keyOperatorRoleName string

var settings = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  AZURE_CLIENT_ID: identityClientId
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__credential: 'managedidentity'
  'AzureWebJobs.graph_sync.Disabled': syncEnabled ? 'false' : 'true'
  AzureWebJobsDisableHomepage: homepageEnabled ? 'false' : 'true'
  CALLERS_URL: callersUrl
  // Once an hour: the rotation counts the hours of a version, and in the middle of one it is in no other.
  CERTIFICATE_ROTATION_SCHEDULE: '0 30 * * * *'
  CLIENT_ID: clientId
  DIRECTORY_URL: directoryUrl
  GRAPH_SYNC_SCHEDULE: '0 * * * * *'
  KEY_VAULT_URL: 'https://${vaultName}${environment().suffixes.keyvaultDns}'
  // The two others have an effect with metrics alone: vend's own log by the worker, no traces.
  OTEL_TRACES_EXPORTER: 'none'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: metricsEnabled ? 'true' : 'false'
  PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME: 'vend'
  // For functions that are not async, of which vend has none.
  PYTHON_THREADPOOL_THREAD_COUNT: '4'
  TENANT_ID: tenant().tenantId
  VEND_CONFIG: 'vend.toml'
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  // azd deploys the service of this name in azure.yaml here.
  tags: { 'azd-service-name': 'vend' }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    // The compiler does not know it:
    // https://learn.microsoft.com/azure/azure-functions/functions-app-settings#functionsruntimeadminisolationenabled
    #disable-next-line BCP037
    functionsRuntimeAdminIsolationEnabled: true
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ipSecurityRestrictionsDefaultAction: 'Deny'
      ipSecurityRestrictions: [
        for (range, index) in callerIpRanges: {
          name: 'caller-${index}'
          priority: 100 + index
          action: 'Allow'
          ipAddress: range
        }
      ]
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: 'Deny'
      scmIpSecurityRestrictions: [
        for (range, index) in deployerIpRanges: {
          name: 'deployer-${index}'
          priority: 100 + index
          action: 'Allow'
          ipAddress: range
        }
      ]
      appSettings: [for setting in items(settings): { name: setting.key, value: setting.value }]
    }
    functionAppConfig: {
      runtime: { name: 'python', version: '3.13' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: 'https://${hostStorageName}.blob.${environment().suffixes.storage}/${deploymentContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        // Every instance has a cache of its own: few instances that each take many requests ask Entra least.
        alwaysReady: [{ name: 'http', instanceCount: zoneRedundant ? 2 : 1 }]
        instanceMemoryMB: 2048
        maximumInstanceCount: 40
        triggers: { http: { perInstanceConcurrency: 200 } }
      }
      // The compiler does not know it: https://learn.microsoft.com/azure/azure-functions/flex-consumption-site-updates
      #disable-next-line BCP037
      siteUpdateStrategy: { type: updateStrategy }
    }
  }

  resource passwordForScm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource passwordForFtp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
    // Two changes of one app at once are a conflict.
    dependsOn: [passwordForScm]
  }
}

// Website Contributor, the smallest built-in role for it, also deploys code and reads every setting.
// https://learn.microsoft.com/azure/role-based-access-control/permissions/web-and-mobile#microsoftweb
resource keyOperator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (empty(keyOperatorRoleId)) {
  name: guid(resourceGroup().id, keyOperatorRoleName)
  properties: {
    roleName: keyOperatorRoleName
    description: 'Lists, makes and deletes the host keys of a function app; deploys no code and changes no setting.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.Web/sites/host/listkeys/action'
          'Microsoft.Web/sites/host/functionkeys/write'
          'Microsoft.Web/sites/host/functionkeys/delete'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource keyOperators 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operatorId in keyOperatorIds: {
    scope: app
    name: guid(app.id, operatorId, empty(keyOperatorRoleId) ? keyOperatorRoleName : keyOperatorRoleId)
    properties: {
      principalId: operatorId
      roleDefinitionId: empty(keyOperatorRoleId)
        ? subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyOperator.name)
        : keyOperatorRoleId
    }
  }
]

@description('Resource id of the app.')
output id string = app.id

@description('Where the app answers.')
output url string = 'https://${app.properties.defaultHostName}'
