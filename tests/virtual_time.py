"""An event loop whose clock jumps: what waits for an hour waits for no time at all."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_ROUNDS = 50
"""Rounds of the loop after which whatever needs no time has happened."""


class _Selector(selectors.SelectSelector):
    """Instead of waiting for a timer, lets the time pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen: everybody waits, and for no timer")
        self.now += max(timeout, 0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop for tests of timers: deterministic, and it never sleeps."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)
        # After months, the nanosecond that it is by itself is less than a float can tell.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._clock.now

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self.run_until_complete(coroutine)

    def settle(self) -> None:
        """Let happen what needs no time."""

        async def rounds() -> None:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)

        self.run_until_complete(rounds())

    def jump(self, time: float) -> None:
        """Have it be `time`, whatever was due before: as for a process that was stopped."""
        self._clock.now = time

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and happen what is due by then."""
        self.run_until_complete(asyncio.sleep(seconds))
        self.settle()
