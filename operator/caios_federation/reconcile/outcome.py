"""What a step of a reconciliation came to."""

from dataclasses import dataclass

from caios_federation.api.conditions import Finding
from caios_federation.clients.errors import ClientError
from caios_federation.observe.events import Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be told of a step, and when to take it again."""

    finding: Finding | None = None
    """What its condition says; None where the condition is left out."""
    events: frozenset[Event] = frozenset()
    changed: bool = False
    """Whether something was done at CoreWeave."""
    again_after_seconds: float | None = None
    error: ClientError | None = None
    """What went wrong; raised once everything is told, so that the queue tries again."""
