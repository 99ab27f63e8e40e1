using '../main.bicep'

param clientId = '00000000-0000-4000-8000-00000000c11e'
param callerIpRanges = ['192.0.2.0/24']
param deployerIpRanges = ['198.51.100.7/32']
param operatorIds = ['00000000-0000-4000-8000-00000000d3b1']
param secretNames = ['vend-local', 'vend-secret']
param directoryReaderIds = ['00000000-0000-4000-8000-00000000d17e']
param certificateMonths = 6
param certificateRenewalPercentage = 70
