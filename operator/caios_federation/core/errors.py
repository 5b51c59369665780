"""What `parse_*` functions raise."""


class ParseError(ValueError):
    """Untrusted input does not have the expected form. The message is safe to show."""
