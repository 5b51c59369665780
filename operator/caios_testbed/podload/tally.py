"""What became of the Pods of a load: counted per phase, those that went wrong kept by name."""

from __future__ import annotations

import datetime as dt
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rich.table import Table

KEPT = 50
"""Records of Pods that went wrong, per phase: enough to see why, and bounded."""


class Result(StrEnum):
    """What became of a Pod."""

    INJECTED = "injected"
    MISSED = "missed"
    """It should have been injected, and was not."""
    PLAIN = "plain"
    """Not injected, as it should be."""
    UNEXPECTED = "unexpected"
    """Injected, and should not have been."""
    REFUSED = "refused"
    """Admission said no."""
    UNANSWERED = "unanswered"
    """The API server did not answer within the deadline, however often it was asked."""


STORED = (Result.INJECTED, Result.MISSED, Result.PLAIN, Result.UNEXPECTED)
GOOD = (Result.INJECTED, Result.PLAIN)


@dataclass(frozen=True, slots=True)
class Record:
    """One Pod."""

    phase: str
    """In which it was first asked for."""
    name: str
    account: str
    expected: bool
    result: Result
    seconds: float
    """How long the answered attempt took."""
    attempts: int
    at: dt.datetime
    """When it was first asked for."""
    note: str = ""
    """What the API server said of a refusal."""


@dataclass(slots=True)
class Phase:
    """The Pods that were first asked for in one phase of a test."""

    name: str
    results: Counter[Result] = field(default_factory=Counter)
    retried: int = 0
    wrong: list[Record] = field(default_factory=list)
    """The first of those that were not as they should be."""
    _seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, record: Record) -> None:
        """Count a Pod."""
        self.results[record.result] += 1
        self.retried += record.attempts > 1
        if record.result in STORED:
            self._seconds.append(record.seconds)
        if record.result not in GOOD and len(self.wrong) < KEPT:
            self.wrong.append(record)

    @property
    def created(self) -> int:
        """How many Pods were stored."""
        return sum(self.results[result] for result in STORED)

    @property
    def expected(self) -> int:
        """How many of those were to be injected."""
        return self.results[Result.INJECTED] + self.results[Result.MISSED]

    def percentile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the stored Pods did not exceed."""
        return percentile(self._seconds, share)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of `values` do not exceed; NaN when there is none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(phases: Iterable[Phase], beside: Mapping[str, Counter[str]] | None = None) -> Table:
    """Return the counts of all phases, and their sum, as a table for a terminal.

    `beside` has further columns: by heading, then by the phase's name.
    """
    more = beside or {}
    shown = Table(title="Pods by phase")
    shown.add_column("phase")
    numbers = ("created", "expected", *(r.value for r in Result if r is not Result.PLAIN))
    for name in (*numbers, "retried", *more, "p50 ms", "p99 ms"):
        shown.add_column(name, justify="right")
    rows = list(phases)
    for phase in rows:
        here = [str(column[phase.name]) for column in more.values()]
        shown.add_row(phase.name, *_counts([phase]), *here, *_latencies(phase))
    shown.add_section()
    total = [str(column.total()) for column in more.values()]
    shown.add_row("all", *_counts(rows), *total, "", "")
    return shown


def _counts(phases: Sequence[Phase]) -> list[str]:
    results = [sum(p.results[r] for p in phases) for r in Result if r is not Result.PLAIN]
    created, expected = sum(p.created for p in phases), sum(p.expected for p in phases)
    return [str(n) for n in (created, expected, *results, sum(p.retried for p in phases))]


def _latencies(phase: Phase) -> list[str]:
    return [f"{1000 * phase.percentile(share):.1f}" for share in (0.5, 0.99)]
