"""Whether the unit of work under way wrote anything.

Told by who sees the requests go out, asked by who counts reconciliations: each of those is a task
of its own, and so has a note of its own.
"""

from contextvars import ContextVar

_wrote: ContextVar[bool] = ContextVar("wrote", default=False)


def begin() -> None:
    """Begin a unit of work: what its starter wrote is not of it."""
    _wrote.set(False)


def note_write() -> None:
    """Note that something was written."""
    _wrote.set(True)


def wrote() -> bool:
    """Tell whether something was written in this task."""
    return _wrote.get()
