"""The local cloud and the local Functions host: for development and tests, never deployed, independent of `shared`."""
