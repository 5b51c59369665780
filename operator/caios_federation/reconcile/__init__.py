"""Bringing the world to the declared state: queue, and one module per subject."""
