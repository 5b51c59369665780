"""A webhook whose cluster has many ServiceAccounts and bindings, beside one with an empty cluster.

Both are asked in turn, so that a machine that is slower for a while is so for both; also while
ServiceAccounts of the large cluster change.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, objects, reviews
from benchmarks.stage import Server, Stage
from caios_testbed.cluster.progress import Progress

SIZES = (1_000, 10_000, 50_000)
"""ServiceAccounts; one of a hundred is annotated."""
BINDINGS = 5_000
CHANGES_A_SECOND = 200
ROUNDS = 5
SECONDS = 4
SETTLED_SECONDS = 20
"""After readiness: Kopf has taken in the bindings by then, and the second audit is over."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How a webhook answers at one connection, every Pod injected; medians of the rounds."""

    p50_ms: float
    p99_ms: float
    cpu_us: float

    @classmethod
    def of(cls, runs: Sequence[load.Run]) -> "Latency":
        """Return the medians."""
        return cls(
            statistics.median(run.p50_ms for run in runs),
            statistics.median(run.p99_ms for run in runs),
            statistics.median(run.cpu_us for run in runs),
        )


@dataclass(frozen=True, slots=True)
class Size:
    """A webhook of a cluster of one size."""

    accounts: int
    bindings: int
    ready_s: float
    """From the process' start until it serves: until everything was listed."""
    cpu_s: float
    """Used until everything is settled."""
    rss_mib: float
    empty: Latency
    """Of the webhook of the empty cluster, at the same time."""
    full: Latency
    empty_changing: Latency
    """The same, while ServiceAccounts change."""
    full_changing: Latency


def measure(empty: Stage, full: Stage, directory: Path, progress: Progress) -> Iterator[Size]:
    """Fill the cluster `full` by and by; yield what each size came to."""
    body = directory / "federated.json"
    body.write_bytes(reviews.usual(reviews.FEDERATED))
    with progress.step(f"{BINDINGS} bindings"):
        objects.create(full.plane, objects.namespaces())
        objects.create(full.plane, map(objects.binding, range(BINDINGS)))
    before = 0
    for size in SIZES:
        with progress.step(f"{size} ServiceAccounts"):
            objects.create(full.plane, map(objects.account, range(before, size)))
        before = size
        with progress.step(f"webhooks of an empty cluster and of {size} ServiceAccounts"):
            yield _measured(size, empty, full, body)


def _measured(size: int, empty: Stage, full: Stage, body: Path) -> Size:
    with empty.webhook() as one:
        begun = time.monotonic()
        with full.webhook() as other:
            ready = time.monotonic() - begun
            time.sleep(SETTLED_SECONDS)  # a length of time: nothing tells that nothing is left
            cpu = load.cpu_seconds(other.pid)
            calm = _in_turn(one, other, body)
            with objects.Changes(full.plane, size, CHANGES_A_SECOND).running() as changes:
                changing = _in_turn(one, other, body)
            if not changes.made:
                raise RuntimeError("no ServiceAccount changed")
            return Size(size, BINDINGS, ready, cpu, load.rss_mib(other.pid), *calm, *changing)


def _in_turn(one: Server, other: Server, body: Path) -> tuple[Latency, Latency]:
    runs: dict[str, list[load.Run]] = {one.url: [], other.url: []}
    for _ in range(ROUNDS):
        for server in (one, other):
            run = load.run(server.url, body, server.pid, connections=1, seconds=SECONDS)
            runs[server.url].append(run)
    return Latency.of(runs[one.url]), Latency.of(runs[other.url])
