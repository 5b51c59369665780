"""A real Kubernetes, built from source and run on this machine."""
