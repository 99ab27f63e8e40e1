"""The one store of a local cloud: applications, service principals, keys, grants, managed identities and people."""
