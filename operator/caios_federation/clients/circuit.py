"""When to leave a service that hangs or fails alone, so that nobody waits for it in vain.

Failures in a row are weighed by the time that they took. From a weight on, requests are refused for
a pause; then one of them probes, and an answer ends it. Pure but for the clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 5.0
"""Seconds; doubles with each probe that fails."""
LONGEST_PAUSE: Final = 15.0
MOST_UNDER_WAY: Final = 64
"""Requests at the same time. The queue, which begins 64 a second while answers are slow, reaches so
many only where an answer takes more than a second."""
_LIGHTEST: Final = 0.5
"""Seconds that a failure weighs at least."""
_BEARABLE: Final = 5.0
"""Seconds that failures in a row may weigh: ten quick ones, or one that took this long."""
_BUSY_SECONDS: Final = 1.0
"""When to ask again while others still wait for their answers."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The right to send one request; `Circuit.leave` takes it back."""

    probe: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """No request is to be sent."""

    seconds: float
    """After which to ask again."""


class Circuit:
    """Stands before one operation of one service."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way = 0
        self._weight = 0.0
        self._pause = FIRST_PAUSE
        self._open_until: float | None = None
        """None: requests are let through."""
        self._probing = False

    def refusal(self) -> Refusal | None:
        """Return what a request would be refused with now; None where it would be let through."""
        if self._open_until is not None:
            left = self._open_until - self._clock()
            if left > 0:
                return Refusal(left)
            return Refusal(_BUSY_SECONDS) if self._probing else None
        return Refusal(_BUSY_SECONDS) if self._under_way >= MOST_UNDER_WAY else None

    def enter(self) -> Pass | Refusal:
        """Let a request through that is sent at once, or not."""
        if (refusal := self.refusal()) is not None:
            return refusal
        probe = self._open_until is not None
        self._probing |= probe
        self._under_way += 1
        return Pass(probe=probe)

    def leave(self, given: Pass, *, alive: bool | None, seconds: float) -> None:
        """Learn what came of a request in `seconds`.

        `alive` tells whether the service did answer, though it be with a refusal; None: the request
        was given up by ourselves.
        """
        self._under_way -= 1
        if given.probe:
            self._probing = False
        if alive:
            self._weight, self._pause, self._open_until = 0.0, FIRST_PAUSE, None
        elif alive is None:
            return
        elif self._open_until is None:
            self._weight += max(seconds, _LIGHTEST)
            if self._weight >= _BEARABLE:
                self._open()
        elif given.probe:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._open()
        # Else it was sent before the pause, which is about it already.

    def _open(self) -> None:
        self._weight, self._open_until = 0.0, self._clock() + self._pause
