metadata description = 'The vault that holds the certificate and signs with it, and who may do what in it.'

import { roles } from 'roles.bicep'

@description('Globally unique.')
@minLength(3)
@maxLength(24)
param name string

@description('Region of the vault.')
param location string

@description('Resource id of the workspace that gets the audit log.')
param workspaceId string

@description('Resource id of the identity of the app: its role assignment is named after it.')
param identityId string

@description('Object ID of the identity of the app.')
param principalId string

@description('Resource id of an existing role for signing; empty to make one.')
param signerRoleId string

@description('Name of the role that is made; unique in the tenant.')
param signerRoleName string

@description('Names of the secrets that the app reads: client secrets, and certificates with a key that signs in the app.')
param secretNames string[]

@description('Object IDs of those who make the certificate.')
param certificateOfficerIds string[]

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    // Flex Consumption without a virtual network has no address that a firewall could let in; roles are the wall.
    publicNetworkAccess: 'Enabled'
    networkAcls: { defaultAction: 'Allow', bypass: 'None' }
  }
}

// A preview is the newest version that Azure has: https://learn.microsoft.com/azure/templates/microsoft.insights/diagnosticsettings
#disable-next-line use-recent-api-versions
resource auditLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = {
  scope: vault
  name: 'keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'Without the key in this vault no caller of vend gets a token.'
  }
}

// No built-in role is this small: Certificate User downloads exportable keys, Crypto User also decrypts and unwraps.
resource signer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (empty(signerRoleId)) {
  name: guid(resourceGroup().id, signerRoleName)
  properties: {
    roleName: signerRoleName
    description: 'Reads a certificate and signs with its key; takes no key out of the vault.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/certificates/read'
          'Microsoft.KeyVault/vaults/keys/sign/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource signing 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, identityId, empty(signerRoleId) ? signerRoleName : signerRoleId)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: empty(signerRoleId)
      // As Azure stores it: without the resource group.
      ? subscriptionResourceId('Microsoft.Authorization/roleDefinitions', signer.name)
      : signerRoleId
  }
}

// The secret of a certificate has its name, and holds its key. The role is given on the one secret, never on the vault.
resource secrets 'Microsoft.KeyVault/vaults/secrets@2026-02-01' existing = [
  for secretName in secretNames: {
    parent: vault
    name: secretName
  }
]

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (secretName, index) in secretNames: {
    scope: secrets[index]
    name: guid(vault.id, secretName, identityId, roles.secretsUser)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsUser)
    }
  }
]

// Without principalType, which Azure finds out: an operator is a user, a group or a service principal.
resource officers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for officerId in certificateOfficerIds: {
    scope: vault
    name: guid(vault.id, officerId, roles.certificatesOfficer)
    properties: {
      principalId: officerId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.certificatesOfficer)
    }
  }
]
