"""The local Microsoft Graph."""
