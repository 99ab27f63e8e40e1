using 'main.bicep'

// Values of the azd environment: `azd env set NAME VALUE`. docs/deployment.md says what they are.
param clientId = readEnvironmentVariable('VEND_CLIENT_ID')
param callerIpRanges = filter(split(readEnvironmentVariable('VEND_CALLER_IP_RANGES'), ','), range => !empty(range))
param deployerIpRanges = filter(split(readEnvironmentVariable('VEND_DEPLOYER_IP_RANGES'), ','), range => !empty(range))
param signerRoleId = readEnvironmentVariable('VEND_SIGNER_ROLE_ID', '')

// azd knows who deploys.
param operatorId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param operatorType = readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User')
