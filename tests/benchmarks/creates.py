"""Creations of Pods through a real API server, with the webhook and without it.

Pods are created at a steady rate, each at its time whether those before are answered or not, and
not stored (a server-side dry run). A namespace whose Pods are injected and one that is left out by
its label take turns, so that both see the same API server.
"""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import aiohttp
import orjson

from benchmarks import objects, reviews
from benchmarks.stage import Stage, samples, yardstick
from builders import GROUP, Json
from caios_testbed.cluster.ports import free_ports

RATES = 20, 100
"""Pods a second."""
SECONDS, ROUNDS = 10, 2
"""Of each turn, and turns of each namespace."""
BYSTANDER = "left-out"
_SAMPLE = re.compile(
    r"apiserver_admission_webhook_admission_duration_seconds_(?P<what>count|sum|bucket)"
    r"\{(?P<labels>[^}]*)\} (?P<number>\S+)"
)


@dataclass(frozen=True, slots=True)
class Creates:
    """What creations took, in milliseconds, and the API server's own count of the calls."""

    rate: int
    webhook: str
    p50_ms: float
    p99_ms: float
    call_ms: float | None
    """Mean time of a call, by the API server's histogram; None without a webhook."""
    within_5_ms: float | None
    """Part of the calls, of 1, that took at most 5 ms."""
    served_within_5_ms: float | None = None
    """The same by our own histogram: from a request's head to its answer."""


def measure(stage: Stage) -> Iterator[Creates]:
    """Create Pods without a webhook, with ours, and with the least that one can be in Python."""
    stage.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": BYSTANDER, "labels": {f"{GROUP}/inject": "false"}},
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": reviews.FEDERATED, "namespace": BYSTANDER},
        },
    )
    (port,) = free_ports(1)
    for rate in RATES:
        with stage.webhook({"CAIOS_OBSERVABILITY__PORT": str(port)}):
            without, ours = _taking_turns(stage, rate, "ours")
            yield without
            yield replace(ours, served_within_5_ms=_served(port))
        with yardstick("protocol", stage.port, stage.certificates):
            _, least = _taking_turns(stage, rate, "yardstick_protocol")
            yield least


def _taking_turns(stage: Stage, rate: int, name: str) -> tuple[Creates, Creates]:
    """Create Pods in both namespaces, with whatever answers on the stage's port."""
    took: dict[str, list[float]] = {reviews.NAMESPACE: [], BYSTANDER: []}
    for namespace in took:  # connections, caches, the first dispatch
        asyncio.run(_create(stage, namespace, rate, seconds=3))
    before = _calls(stage)
    for _ in range(ROUNDS):
        for namespace in took:
            took[namespace] += asyncio.run(_create(stage, namespace, rate, seconds=SECONDS))
    after = _calls(stage)
    calls = after.number - before.number
    call_ms = (after.seconds - before.seconds) / calls * 1e3
    within = (after.within_5_ms - before.within_5_ms) / calls
    return (
        Creates(rate, "none", *_percentiles(took[BYSTANDER]), None, None),
        Creates(rate, name, *_percentiles(took[reviews.NAMESPACE]), call_ms, within),
    )


def _percentiles(took: list[float]) -> tuple[float, float]:
    percentiles = statistics.quantiles(took, n=100)
    return percentiles[49], percentiles[98]


def _served(port: int) -> float:
    """Return which part of all answers our own histogram has within 5 ms."""
    seen = samples(port)
    name = "caios_federation_admission_duration_seconds"
    within = sum(seen[each] for each in seen if f"{name}_bucket" in each and 'le="0.005"' in each)
    return within / sum(seen[each] for each in seen if f"{name}_count" in each)


async def _create(stage: Stage, namespace: str, rate: int, *, seconds: int) -> list[float]:
    """Create Pods; return what each took, in milliseconds."""
    took: list[float] = []
    pod = orjson.loads(reviews.usual(reviews.FEDERATED))["request"]["object"]
    pod["metadata"].pop("namespace", None)  # it is that of the path
    async with objects.session(stage.plane) as session, asyncio.TaskGroup() as tasks:
        begun = time.monotonic()
        for number in range(seconds * rate):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.create_task(_one(session, stage, namespace, pod, due, took))
    return took


async def _one(
    session: aiohttp.ClientSession,
    stage: Stage,
    namespace: str,
    pod: Json,
    due: float,
    took: list[float],
) -> None:
    url = f"{stage.plane.url}/api/v1/namespaces/{namespace}/pods?dryRun=All"
    async with session.post(url, data=orjson.dumps(pod)) as answer:
        created = orjson.loads(await answer.read())
    took.append((time.monotonic() - due) * 1e3)
    if answer.status != 201:
        raise RuntimeError(f"{namespace}: {answer.status} {created.get('message')}")
    injected = f"{GROUP}/federated" in created["metadata"]["labels"]
    if injected != (namespace == reviews.NAMESPACE):
        raise RuntimeError(f"{namespace}: a Pod was {'' if injected else 'not '}injected")


class _Calls(NamedTuple):
    """The API server's count of the webhook's calls."""

    number: float
    seconds: float
    within_5_ms: float


def _calls(stage: Stage) -> _Calls:
    samples = {"count": 0.0, "sum": 0.0, "bucket": 0.0}
    for found in _SAMPLE.finditer(stage.kubectl.run("get", "--raw", "/metrics")):
        what, labels = found["what"], found["labels"]
        if GROUP in labels and (what != "bucket" or 'le="0.005"' in labels):
            samples[what] += float(found["number"])
    return _Calls(samples["count"], samples["sum"], samples["bucket"])
