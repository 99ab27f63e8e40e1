"""The database that holds the directory copy."""
