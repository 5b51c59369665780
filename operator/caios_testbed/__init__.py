"""What the product is tried on; never imported by the product."""
