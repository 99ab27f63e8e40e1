"""The local Entra: its token endpoint, discovery and signing keys."""
