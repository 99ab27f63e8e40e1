"""The local Azure Resource Manager."""
