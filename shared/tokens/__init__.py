"""Tokens: acquired from Entra, kept, and refreshed ahead of time."""
