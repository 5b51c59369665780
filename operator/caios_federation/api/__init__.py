"""The API's words and shapes: no behaviour, no I/O."""
