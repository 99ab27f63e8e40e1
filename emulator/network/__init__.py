"""How the parts of the local cloud are reached: TLS, gates, faults and a proxy."""
