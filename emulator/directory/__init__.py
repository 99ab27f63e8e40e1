"""What the local cloud knows of its tenant: applications, grants, keys and people."""
