"""The admission server alone, over HTTPS keep-alive, beside two yardsticks in the same run.

Ours is the operator's own process in the role `webhook`, with caches filled by a real API server;
wrk calls it directly. Rounds go through all servers one after the other, so that a machine that is
slower for a while is so for each; the medians of the rounds count.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks import load, reviews
from benchmarks.stage import Server, Stage, yardstick
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.progress import Progress

ROUNDS = 3
MANY = 16
SECONDS, SECONDS_ALONE, WARM_SECONDS = 5, 3, 1
"""Of a run at 16 connections, at one, and before both."""
LONG_SECONDS = 60
"""Of the run in which the slowest answer is looked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """One server with one kind of review."""

    name: str
    server: Server
    body: Path


@dataclass(frozen=True, slots=True)
class Figures:
    """What a case came to: the medians of its rounds."""

    cpu_us: float
    """CPU time of the server for each request, at 16 connections."""
    rps: float
    p50_ms: float
    """At one connection."""
    p99_ms: float
    """At 16 connections, with both cores busy."""
    rss_mib: float

    @classmethod
    def of(cls, many: Sequence[load.Run], alone: Sequence[load.Run]) -> "Figures":
        """Return the medians of some rounds."""
        return cls(
            cpu_us=statistics.median(run.cpu_us for run in many),
            rps=statistics.median(run.rps for run in many),
            p50_ms=statistics.median(run.p50_ms for run in alone),
            p99_ms=statistics.median(run.p99_ms for run in many),
            rss_mib=statistics.median(run.rss_mib for run in many),
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """All figures of the admission server alone."""

    cases: Mapping[str, Figures]
    slowest_ms: float
    """The slowest answer within a minute at 16 connections, every Pod injected."""

    def as_json(self) -> dict[str, object]:
        """Return it as written to the file of results."""
        told = {
            name: {field.name: round(getattr(figures, field.name), 3) for field in fields(figures)}
            for name, figures in self.cases.items()
        }
        return {**told, "slowest_ms_in_60_s": round(self.slowest_ms, 3)}


def measure(stage: Stage, progress: Progress) -> Admission:
    """Start the servers, measure, and end them."""
    pair = stage.certificates
    aiohttp_port, protocol_port = free_ports(2)
    with (
        stage.webhook() as ours,
        yardstick("aiohttp", aiohttp_port, pair) as framework,
        yardstick("protocol", protocol_port, pair) as least,
    ):
        yardsticks = (framework, least)
        cases = list(_cases(stage.directory, ours, yardsticks))
        for case in cases:
            _run(case, MANY, WARM_SECONDS)
        many: dict[str, list[load.Run]] = {case.name: [] for case in cases}
        alone: dict[str, list[load.Run]] = {case.name: [] for case in cases}
        for number in range(ROUNDS):
            with progress.step(f"round {number + 1} of {ROUNDS}"):
                for case in cases:
                    many[case.name].append(_run(case, MANY, SECONDS))
                    alone[case.name].append(_run(case, 1, SECONDS_ALONE))
        with progress.step("a minute at 16 connections"):
            injected = next(case for case in cases if case.name == "injected")
            slowest = _run(injected, MANY, LONG_SECONDS).max_ms
    figures = {case.name: Figures.of(many[case.name], alone[case.name]) for case in cases}
    return Admission(figures, slowest)


def _run(case: Case, connections: int, seconds: int) -> load.Run:
    server = case.server
    return load.run(server.url, case.body, server.pid, connections=connections, seconds=seconds)


def _cases(directory: Path, ours: Server, yardsticks: Sequence[Server]) -> Iterator[Case]:
    bodies = {
        "pass_through": reviews.usual(reviews.PLAIN),
        "injected": reviews.usual(reviews.FEDERATED),
        "pass_through_large": reviews.large(reviews.PLAIN),
        "injected_large": reviews.large(reviews.FEDERATED),
    }
    for name, content in bodies.items():
        body = directory / f"{name}.json"
        body.write_bytes(content)
        yield Case(name, ours, body)
        for each in yardsticks:
            suffix = name.removeprefix("pass_through").removeprefix("_")
            yield Case("_".join(filter(None, (each.name, suffix))), each, body)
