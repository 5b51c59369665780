"""What was asked and how it was decided: for tests, and for people who wonder.

Only named fields are kept, none of which can hold a credential: no headers, no query string (a
presigned URL carries its signature there), no bodies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from caios_testbed.coreweave.settings import camel

CAPACITY = 10_000
"""Entries kept; older ones are dropped, so that a long-running emulator stays small."""


@dataclass(slots=True)
class Entry:
    """One request; filled in while it is served."""

    time: str
    method: str
    host: str
    path: str
    operation: str = "Unknown"
    principal: str = ""
    decision: str = ""
    """`allowed` or `denied` by policies; empty where none was asked."""
    reason: str = ""
    fault: str = ""
    status: int = 0

    def document(self) -> dict[str, Any]:
        """Return the entry as JSON."""
        return {camel(name): value for name, value in asdict(self).items()}


class RequestLog:
    """The latest entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def append(self, entry: Entry) -> None:
        """Keep one more."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
