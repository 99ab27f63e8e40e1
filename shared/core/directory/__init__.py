"""The directory copy as pure functions: which streams there are, and what a page changes."""
