"""The directory copy as pure functions: its streams, their checkpoints, and the changes on a page."""
