"""Who calls: the callers document as it is now."""
