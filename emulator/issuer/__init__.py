"""The local issuer of identity tokens that is not Entra, as a Kubernetes cluster is one."""
