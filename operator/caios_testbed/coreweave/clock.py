"""Time as the emulator sees it: real, or moved on by tests instead of waiting."""

from __future__ import annotations

import datetime as dt


class Clock:
    """UTC, with an offset that `PUT /testbed/clock` sets."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> dt.datetime:
        """Return the emulator's time."""
        return self.real() + dt.timedelta(seconds=self.offset_seconds)

    def real(self) -> dt.datetime:
        """Return the machine's time: what clients sign their requests with."""
        return dt.datetime.now(dt.UTC)
