"""The app beside the local cloud, and what `make run` shows of it."""
