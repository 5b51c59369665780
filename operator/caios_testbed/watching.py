"""Watch what a process holds over a long run.

Read from /proc, so that a process in a container of this machine is watched like any other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from caios_testbed.cluster.process import PROC, start_time

TCP_STATES = {
    "01": "established",
    "02": "syn-sent",
    "03": "syn-recv",
    "04": "fin-wait-1",
    "05": "fin-wait-2",
    "06": "time-wait",
    "07": "close",
    "08": "close-wait",
    "09": "last-ack",
    "0A": "listen",
    "0B": "closing",
}
"""As in /proc/net/tcp (include/net/tcp_states.h of the kernel)."""

Gauges = Callable[[], Mapping[str, float]]
"""Further numbers of a process, such as its asyncio tasks, read from its metrics."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at one moment."""

    at: float
    """Seconds, of the monotonic clock."""
    values: Mapping[str, float]
    """`rss` in bytes, `threads`, `descriptors`, `tcp STATE` and the gauges."""


@dataclass(slots=True)
class Watched:
    """A process and its samples."""

    pid: int
    gauges: Gauges = dict
    samples: list[Sample] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Why samples are missing: the process has gone, or its metrics could not be read."""

    def series(self, name: str) -> list[float]:
        """Return one number over time; 0 where a sample lacks it."""
        return [sample.values.get(name, 0.0) for sample in self.samples]

    @property
    def names(self) -> list[str]:
        """All numbers that some sample has."""
        return sorted({name for sample in self.samples for name in sample.values})

    def look(self) -> None:
        """Add a sample; what cannot be read is noted."""
        try:
            values = {**held(self.pid), **self.gauges()}
        except Exception as error:  # noqa: BLE001  # whatever the gauges raise: the watch goes on
            self.trouble.append(f"{type(error).__name__}: {error}")
            return
        self.samples.append(Sample(time.monotonic(), values))


@contextmanager
def watching(processes: Sequence[Watched], period_seconds: float = 1.0) -> Iterator[None]:
    """Take samples of `processes` in a thread, for as long as the `with`."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(period_seconds):
            for each in processes:
                each.look()

    thread = threading.Thread(target=watch, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def held(pid: int) -> dict[str, float]:
    """Return what a process holds now; raises ProcessLookupError when it is gone."""
    if start_time(pid) is None:
        raise ProcessLookupError(f"process {pid} is gone")
    place = PROC / str(pid)
    status = dict(
        line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line
    )
    sockets, descriptors = set(), 0
    for link in (place / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(link.readlink())
            descriptors += 1
            if target.startswith("socket:["):
                sockets.add(target.removeprefix("socket:[").removesuffix("]"))
    states: Counter[str] = Counter()
    for table in ("tcp", "tcp6"):
        states += tcp_states((place / "net" / table).read_text(), sockets)
    return {
        "rss": 1024.0 * int(status["VmRSS"].split()[0]),
        "threads": float(status["Threads"]),
        "descriptors": float(descriptors),
        **{f"tcp {state}": float(count) for state, count in states.items()},
    }


def tcp_states(table: str, sockets: set[str]) -> Counter[str]:
    """Return how many of the sockets (inodes) are in which state, by the text of /proc/net/tcp."""
    columns = (line.split() for line in table.splitlines()[1:])
    return Counter(TCP_STATES.get(c[3], c[3]) for c in columns if c[9] in sockets)


def gauges_of(text: str, names: Sequence[str]) -> dict[str, float]:
    """Return metrics without labels, by name, from what a process serves at `/metrics`."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in names and not sample.labels
    }
