"""Create real Pods at a steady rate, and tell of each whether it was injected."""
