"""The HTTP routes of the app: requests in, answers out."""
