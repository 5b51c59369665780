"""Federate Kubernetes workloads with CoreWeave AI Object Storage, without long-lived keys."""
