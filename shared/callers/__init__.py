"""The callers: the document in force, and how a request is matched to one."""
