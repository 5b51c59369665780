"""A stand-in for CoreWeave's API and AI Object Storage, at the network edge."""
