"""What is reported about what happened: events, and the metrics that derive from them."""
