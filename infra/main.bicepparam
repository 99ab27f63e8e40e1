using 'main.bicep'

import { networks, parts } from 'lists.bicep'

// Values of the azd environment: `azd env set NAME VALUE`. docs/deployment.md says what they are.
param clientId = readEnvironmentVariable('VEND_CLIENT_ID')
param callerIpRanges = networks(readEnvironmentVariable('VEND_CALLER_IP_RANGES'))
param deployerIpRanges = networks(readEnvironmentVariable('VEND_DEPLOYER_IP_RANGES'))

// AZURE_PRINCIPAL_ID, which azd sets to the identity that deploys, is not read: operators are named. Each counts once,
// because Azure refuses the same assignment twice.
param operatorIds = union([], map(parts(readEnvironmentVariable('VEND_OPERATOR_IDS', '')), id => toLower(id)))
param signerRoleId = readEnvironmentVariable('VEND_SIGNER_ROLE_ID', '')
param keyOperatorRoleId = readEnvironmentVariable('VEND_KEY_OPERATOR_ROLE_ID', '')
param secretNames = union([], parts(readEnvironmentVariable('VEND_SECRET_NAMES', '')))
param nameSalt = readEnvironmentVariable('VEND_NAME_SALT', '')

param zoneRedundant = bool(readEnvironmentVariable('VEND_ZONE_REDUNDANT', 'false'))
param updateStrategy = readEnvironmentVariable('VEND_UPDATE_STRATEGY', 'Recreate')
param syncEnabled = bool(readEnvironmentVariable('VEND_SYNC', 'true'))
param directoryReaderIds = union(
  [],
  map(parts(readEnvironmentVariable('VEND_DIRECTORY_READER_IDS', '')), id => toLower(id))
)
param metricsEnabled = bool(readEnvironmentVariable('VEND_METRICS', 'false'))
param homepageEnabled = bool(readEnvironmentVariable('VEND_HOMEPAGE', 'false'))
param dailyLogGb = int(readEnvironmentVariable('VEND_DAILY_LOG_GB', '5'))
param certificateMonths = int(readEnvironmentVariable('VEND_CERTIFICATE_MONTHS', '12'))
param certificateRenewalPercentage = int(readEnvironmentVariable('VEND_CERTIFICATE_RENEWAL_PERCENTAGE', '80'))
