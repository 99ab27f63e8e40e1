"""The local Key Vault."""
