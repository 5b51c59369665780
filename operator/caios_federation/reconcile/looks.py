"""What a federation's surroundings look like: its API token, its trust, the webhook.

A federation is reconciled whenever one of its bindings changes; what has to be asked of others is
asked on a period of its own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from caios_federation.api.conditions import Finding, Status
from caios_federation.observe.events import Event

_OLD: Final = 0.75
"""Share of its period after which a look is too old: less than the queue's jitter makes of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found."""

    injection: Finding
    api_token: Finding | None = None
    trust: Finding | None = None
    events: frozenset[Event] = field(default=frozenset())

    @property
    def good(self) -> bool:
        """Whether there is nothing to wait for."""
        found = (self.injection, self.api_token, self.trust)
        return all(finding is None or finding.status is Status.TRUE for finding in found)


class Looks:
    """The last look at each federation's surroundings."""

    def __init__(self, period_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.period_seconds = period_seconds
        self._clock = clock
        self._looks: dict[str, tuple[float, object, Look]] = {}

    def recent(self, name: str, of: object) -> Look | None:
        """Return the last look at the federation `name` as it is now, unless it is too old."""
        taken, seen, look = self._looks.get(name, (0.0, None, None))
        if look is None or seen != of or self._clock() - taken >= self.wait_seconds(look) * _OLD:
            return None
        return look

    def took(self, name: str, of: object, look: Look) -> None:
        """Keep a look at the federation `name`."""
        self._looks[name] = (self._clock(), of, look)

    def wait_seconds(self, look: Look) -> float:
        """Return in how many seconds to look again: sooner while something is wrong."""
        return self.period_seconds if look.good else self.period_seconds / 6
