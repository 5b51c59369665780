"""What the admission server counts: plain numbers, which are put in order when they are scraped.

A Pod that needs nothing pays for the counting too. prometheus-client's own counters and histograms
take a lock and several calls each, which is about ten times as long: 3.6 µs a Pod instead of 0.3.
Only the event loop's thread counts, so that nothing is lost without locks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from caios_federation.api.vocabulary import Outcome, SkipReason, WarningReason
from caios_federation.core.warning import PodWarning

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Upper bounds in seconds. Most Pods are answered within the first; the API server waits for 5 s
unless set otherwise."""
_BOUNDS: Final = (*map(floatToGoString, BUCKETS), "+Inf")


class _Durations:
    """A histogram of one outcome."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0


class AdmissionCounts(Collector):
    """Requests, their durations, skips and warnings."""

    def __init__(self) -> None:
        self._durations = {outcome: _Durations() for outcome in Outcome}
        self._skips = dict.fromkeys(SkipReason, 0)
        self._warnings = dict.fromkeys(WarningReason, 0)

    def answered(self, outcome: Outcome, seconds: float) -> None:
        """Count a request that took `seconds` until its answer was ready."""
        durations = self._durations[outcome]
        durations.counts[bisect_left(BUCKETS, seconds)] += 1
        durations.total += seconds

    def skipped(self, reason: SkipReason) -> None:
        """Count a Pod that was left alone."""
        self._skips[reason] += 1

    def warned(self, warnings: Iterable[PodWarning]) -> None:
        """Count what a Pod's creator was told."""
        for warning in warnings:
            self._warnings[warning.reason] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield it all, as prometheus-client asks."""
        requests = CounterMetricFamily(
            "caios_federation_admission_requests",
            "Admission requests answered, by what became of the Pod.",
            labels=["outcome"],
        )
        durations = HistogramMetricFamily(
            "caios_federation_admission_duration_seconds",
            "Time from an admission request's headers to its answer.",
            labels=["outcome"],
        )
        for outcome, each in self._durations.items():
            requests.add_metric([outcome], sum(each.counts))
            buckets = list(zip(_BOUNDS, accumulate(each.counts), strict=True))
            durations.add_metric([outcome], buckets, each.total)
        yield requests
        yield durations
        yield _by_reason("skips", "Pods that were left alone, by why.", self._skips)
        yield _by_reason("warnings", "Warnings to creators of Pods, by kind.", self._warnings)


def _by_reason(
    what: str, documentation: str, counts: dict[SkipReason, int] | dict[WarningReason, int]
) -> Metric:
    family = CounterMetricFamily(
        f"caios_federation_admission_{what}", documentation, labels=["reason"]
    )
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
