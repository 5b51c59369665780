"""Gauges of what the process holds: read when they are scraped, so that they are never stale."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Numbers = Mapping[str, float]
"""By kind of object."""


@dataclass(frozen=True, slots=True)
class State:
    """What a process holds at a moment. What it does not have at all is None, or left out."""

    cache_objects: Numbers = field(default_factory=dict)
    cache_last_sync: Numbers = field(default_factory=dict)
    """When all objects of a kind were last listed: seconds since 1970, as all moments here."""
    queue_depth: Numbers = field(default_factory=dict)
    queue_oldest: Numbers = field(default_factory=dict)
    bindings: tuple[int, int] | None = None
    """Those that are ready, and those that are not."""
    managed_policies: int | None = None
    certificate_expires: float | None = None
    leads: bool | None = None
    tasks: int | None = None


class StateCollector(Collector):
    """Asks for the state whenever it is scraped."""

    def __init__(self, read: Callable[[], State]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge of each kind, without samples where there is nothing to tell."""
        state = self._read()
        yield _by_kind("cache_objects", "Objects in the cache.", state.cache_objects)
        yield _by_kind(
            "cache_last_sync_timestamp_seconds",
            "When the cache was last compared with a full LIST.",
            state.cache_last_sync,
        )
        yield _by_kind("queue_depth", "Objects that wait to be reconciled.", state.queue_depth)
        yield _by_kind(
            "queue_oldest_key_timestamp_seconds",
            "Since when the object that waits or is worked on for longest does so.",
            state.queue_oldest,
        )
        bindings = _gauge("bindings", "Bindings by whether they are ready.", "ready")
        if state.bindings is not None:
            ready, unready = state.bindings
            bindings.add_metric(["true"], ready)
            bindings.add_metric(["false"], unready)
        yield bindings
        yield _plain(
            "managed_policies",
            "Policies at CoreWeave that say what a binding's grants say.",
            state.managed_policies,
        )
        yield _plain(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate expires.",
            state.certificate_expires,
        )
        yield _plain(
            "leader", "Whether this process acts: 1 for one, 0 for the others.", state.leads
        )
        yield _plain("asyncio_tasks", "Tasks of the event loop that have not ended.", state.tasks)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"caios_federation_{name}", documentation, labels=labels)


def _by_kind(name: str, documentation: str, numbers: Numbers) -> Metric:
    family = _gauge(name, documentation, "kind")
    for kind, number in numbers.items():
        family.add_metric([kind], number)
    return family


def _plain(name: str, documentation: str, number: float | None) -> Metric:
    family = _gauge(name, documentation)
    if number is not None:
        family.add_metric([], number)
    return family
