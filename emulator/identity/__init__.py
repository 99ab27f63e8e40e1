"""The local managed-identity endpoint."""
