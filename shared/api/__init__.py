"""What is asked of the app over HTTP, and how it answers."""
