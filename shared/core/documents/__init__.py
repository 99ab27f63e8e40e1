"""The two documents, vend.toml and callers.toml: what they may say, and every mistake in them."""
