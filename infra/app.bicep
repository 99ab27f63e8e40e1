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

@description('Client id of the identity of the app.')
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

@description('Client id of the app registration that vend gets tokens as.')
param clientId string

@description('Address ranges (CIDR) that may call the app.')
param callerIpRanges string[]

@description('Address ranges (CIDR) that may deploy code to it.')
param deployerIpRanges string[]

var settings = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  AZURE_CLIENT_ID: identityClientId
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__credential: 'managedidentity'
  // The sync is off: on Azure it needs a store that is shared, and this shape has none.
  'AzureWebJobs.graph_sync.Disabled': 'true'
  CALLERS_URL: callersUrl
  CLIENT_ID: clientId
  GRAPH_SYNC_SCHEDULE: '0 */15 * * * *'
  KEY_VAULT_URL: 'https://${vaultName}${environment().suffixes.keyvaultDns}'
  // For functions that are not async; the vault's SDK has threads of its own.
  PYTHON_THREADPOOL_THREAD_COUNT: '4'
  TENANT_ID: tenant().tenantId
  VEND_CONFIG: 'vend.toml'
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
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
        triggers: { http: { perInstanceConcurrency: 100 } }
      }
      // The compiler does not know it: https://learn.microsoft.com/azure/azure-functions/flex-consumption-site-updates
      #disable-next-line BCP037
      siteUpdateStrategy: { type: 'Recreate' }
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

@description('Resource id of the app.')
output id string = app.id

@description('Where the app answers.')
output url string = 'https://${app.properties.defaultHostName}'
