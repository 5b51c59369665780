"""From the start of a webhook's process to its readiness, on an empty cluster."""

import statistics
import time
from dataclasses import dataclass

from benchmarks import load
from benchmarks.stage import Stage

STARTS = 7


@dataclass(frozen=True, slots=True)
class Startup:
    """Medians of some starts."""

    ready_s: float
    slowest_s: float
    cpu_s: float
    rss_mib: float


def measure(stage: Stage) -> Startup:
    """Start the webhook some times."""
    seconds, cpu, memory = [], [], []
    for _ in range(STARTS):
        begun = time.monotonic()
        with stage.webhook() as server:
            seconds.append(time.monotonic() - begun)
            cpu.append(load.cpu_seconds(server.pid))
            memory.append(load.rss_mib(server.pid))
    return Startup(
        statistics.median(seconds), max(seconds), statistics.median(cpu), statistics.median(memory)
    )
