"""The command line, `caios-federation` and `kubectl caios`."""
