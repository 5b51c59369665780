"""Until when a service wants not to be asked: it tells one request, and every other keeps to it.

Pure but for the clock.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from caios_federation.clients.errors import RateLimited, Unavailable

_EARLY: Final = 0.002
"""Seconds by which who waits for a pause may wake before its end: uvloop counts milliseconds."""

Cause = type[RateLimited] | type[Unavailable]
"""What a service said that wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What is left of a time in which nothing is to be sent."""

    seconds: float
    cause: Cause


class Pauses:
    """The pauses that services asked for, each by what it is that is not to be asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[Hashable, tuple[float, Cause]] = {}

    def begin(self, of: Hashable, seconds: float, cause: Cause) -> None:
        """Note that `of` is not to be asked for `seconds`.

        A pause that ends later stays: answers to requests under way may come in any order.
        """
        ends = self._clock() + seconds
        if ends > self._ends.get(of, (0.0, cause))[0]:
            self._ends[of] = ends, cause

    def left(self, of: Hashable) -> Pause | None:
        """Return the pause of `of`; None where there is none, or as good as none."""
        if of not in self._ends:
            return None
        ends, cause = self._ends[of]
        seconds = ends - self._clock()
        if seconds > _EARLY:
            return Pause(seconds, cause)
        del self._ends[of]
        return None
