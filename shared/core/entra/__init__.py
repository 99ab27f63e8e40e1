"""Microsoft Entra's protocol: what is sent to it, and what its answers mean."""
