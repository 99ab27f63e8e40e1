"""Events, and the metrics that derive from them."""
