"""Say whether a number that was sampled over a long run stayed where it was."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MIN_WINDOW = 5
"""Samples of a window: the median of fewer is noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """Medians of the first and of the last quarter of a series, without its warm-up."""

    first: float
    last: float

    @classmethod
    def of(cls, values: Sequence[float], warm_up: float = 0.25) -> Change:
        """Return how `values` changed; `warm_up` is the share of them that is left out.

        Peaks in less than half of a quarter do not count. Raises ValueError for too few values.
        """
        settled = values[int(len(values) * warm_up) :]
        size = len(settled) // 4
        if size < MIN_WINDOW:
            raise ValueError(
                f"{len(values)} samples are too few: {4 * MIN_WINDOW} are needed after the warm-up"
            )
        return cls(statistics.median(settled[:size]), statistics.median(settled[-size:]))

    def flat(self, within: float = 0.1, slack: float = 0.0) -> bool:
        """Say whether it did not grow by more than the share `within`, or by more than `slack`.

        `slack` is for small whole numbers: one connection more than four is a quarter. Shrinking
        is fine.
        """
        return self.last <= max(self.first * (1 + within), self.first + slack)
