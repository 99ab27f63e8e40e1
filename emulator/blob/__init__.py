"""The local Blob Storage."""
