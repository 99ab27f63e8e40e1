"""How a profile proves itself to Entra."""
