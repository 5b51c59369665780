"""No admission is lost in production: real replicas behind a Service, and Pods all the time."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from rich.console import Console

from caios_federation.api import vocabulary as words
from caios_testbed import audit
from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.podload.tally import Result, table
from caios_testbed.release import WEBHOOK, WEBHOOK_AGAIN, Release, Values
from e2e.production import identities
from e2e.production.faults import DEADLINE_SECONDS, FAULTS, Running
from e2e.production.identities import ANNOTATED, BOUND, Team
from e2e.production.site import Site

NAMESPACE = "load"
PODS = 5000
RATE = 25.0
"""Moderate, so that a busy machine keeps up: each Pod is also deleted, which costs as much."""
PER_FAULT = 100
"""Pods that are created at least after each fault is over."""
SILENT_SECONDS = 30.0
"""Longer than a connection on which nothing comes is held on to (`clients/sockets.py`)."""
GHOST_SECONDS = 60.0
"""How long after the end of a blackout what happened in it is known; a third on an idle machine."""

Span = tuple[dt.datetime, dt.datetime]

pytestmark = pytest.mark.timeout(1500)  # half an hour on the busiest machine, 7 minutes on most


@pytest.fixture(scope="module")
def values() -> Values:
    """Return values with which what has a period of its own happens within seconds."""
    return {
        "controller": {"replicas": 2},
        "settings": {
            "CAIOS_ADMISSION__TLS_POLL_SECONDS": 1,
            "CAIOS_CERTIFICATES__CHECK_SECONDS": 2,
            "CAIOS_RECONCILE__MISSED_SECONDS": 5,
            "CAIOS_RECONCILE__PROBE_SECONDS": 5,
        },
    }


@pytest.fixture
def running(site: Site, release: Release) -> Iterator[Running]:
    """Yield the operator with a load that it has begun to answer."""
    site.apply(*pods.manifests(NAMESPACE))
    cluster = site.cluster
    with PodLoad(cluster.url, cluster.pki, NAMESPACE, rate=RATE) as load:
        # ServiceAccounts that were made a moment ago may still be on their way into the caches.
        load.wait(PER_FAULT, DEADLINE_SECONDS)
        yield Running(site, release, load)


def test_of_5000_pods_none_is_refused_and_none_missed_through_faults(running: Running) -> None:
    load, spans = running.load, dict[str, Span]()
    try:
        for name, happen in FAULTS.items():
            begun = dt.datetime.now(dt.UTC)
            with load.phase(name):
                happen(running)
                load.wait(PER_FAULT, DEADLINE_SECONDS)
            spans[name] = begun, dt.datetime.now(dt.UTC)
        load.wait(max(0, PODS - load.created), PODS / RATE + DEADLINE_SECONDS)
    finally:
        report = shown(load, lost_calls(running.site.cluster, spans))
        print(report)

    wrong = [record for phase in load.phases for record in phase.wrong]
    assert wrong == [], f"{report}\n{reasons(running.site.cluster)}"
    assert load.created >= PODS
    results = sum((phase.results for phase in load.phases), Counter())
    assert set(results) == {Result.INJECTED, Result.PLAIN}


def lost_calls(cluster: Cluster, spans: Mapping[str, Span]) -> dict[str, Counter[str]]:
    """Return how many calls the API server gave up on: by first or second call, then by phase."""
    titles = {words.WEBHOOK: "1st call lost", words.WEBHOOK_AGAIN: "2nd"}
    counts = {title: Counter[str]() for title in titles.values()}
    for at, webhook in audit.failed_open(cluster.audit_log):
        phases = [name for name, (begin, end) in spans.items() if begin <= at < end]
        if webhook in titles and phases:
            counts[titles[webhook]][phases[0]] += 1
    return counts


def shown(load: PodLoad, lost: Mapping[str, Counter[str]]) -> str:
    """Return the table of counts as text."""
    console = Console(file=io.StringIO(), width=180)
    console.print(table(load.phases, lost))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return text


def reasons(cluster: Cluster) -> str:
    """Return why calls failed, with counts: what the API server logged of them."""
    log = (cluster.directory / "logs" / "kube-apiserver.log").read_text()
    found = re.findall(
        r'Failed calling webhook, failing open (\S+): .*?: (.*?)"?$', log, re.MULTILINE
    )
    ports = re.compile(r"\d+\.\d+\.\d+\.\d+:\d+")
    counted = Counter(f"{name}: {ports.sub('ADDRESS', reason)}" for name, reason in found)
    return "\n".join(f"{count:5} {reason}" for reason, count in counted.most_common())


def test_pods_that_start_while_no_replica_exists_are_named_and_then_restarted(
    site: Site, release: Release
) -> None:
    team = Team(site, "outage")
    site.apply(*team.manifests(), team.deployment(replicas=0))
    team.wait(
        lambda: team.condition(BOUND, "Ready") == ("True", "Ready"), "a binding that is Ready"
    )

    with no_replica(release):
        team.kubectl("scale", "deployment/worker", "--replicas=2")
        team.kubectl("rollout", "status", "deployment/worker", "--timeout=120s")
        names = sorted(pod["metadata"]["name"] for pod in team.pods())
        team.wait(lambda: team.status(BOUND)["pods"].get("missed") == names, f"{names} named")
        assert team.condition(BOUND, "PodsFederated") == ("False", "PodsMissed")

    def healed() -> bool:
        found = team.pods()
        return len(found) == 2 and all(map(pods.injected, found))

    team.wait(healed, "Pods with credentials in place of those without")
    team.wait(
        lambda: team.condition(BOUND, "Ready") == ("True", "Ready"), "a binding that is Ready"
    )
    assert team.status(BOUND)["pods"]["federated"] == 2
    variables = team.kubectl("exec", "deployment/worker", "--", "env")
    assert f"{words.ENV_CREDENTIALS_URI}=https://api.coreweave.com/" in variables


@contextlib.contextmanager
def no_replica(release: Release) -> Iterator[None]:
    """Have nobody who could be called, inside of the `with`."""
    before = {role: len(release.replicas(role)) for role in (WEBHOOK, WEBHOOK_AGAIN)}
    for role in before:
        release.scale(role, 0)
    try:
        yield
    finally:
        for role, replicas in before.items():
            release.scale(role, replicas)


@pytest.mark.parametrize("expired", [False, True], ids=["resumed", "410"])
def test_an_identity_that_ends_while_watches_are_broken_leaves_no_ghost(
    site: Site, release: Release, expired: bool
) -> None:
    team = Team(site, "expired" if expired else "resumed")
    site.apply(*team.manifests())
    reviews = {name: identities.review(team.namespace, name) for name in (ANNOTATED, BOUND)}

    def injecting() -> set[bool]:
        """Return what the replicas would do with Pods of both, each asked by itself."""
        answers = identities.ask(site, release, list(reviews.values()))
        return {bool(answer["response"].get("patch")) for answer in answers}

    team.wait(lambda: injecting() == {True}, "both injected by all replicas")
    with site.cluster.blackout(DEADLINE_SECONDS):
        team.kubectl("delete", "fsb", BOUND)
        team.kubectl("delete", "serviceaccount", ANNOTATED, BOUND)
        site.apply(*team.plain_accounts())
        if expired:
            site.cluster.expire_watches()
        time.sleep(SILENT_SECONDS)  # how long it lasts is what makes it one
    over = time.monotonic()
    assert eventually(lambda: injecting() == {False}, GHOST_SECONDS), injecting()
    print(f"{team.namespace}: no ghost {time.monotonic() - over:.0f} s after the blackout")
    assert not any(team.injected(name) for name in (ANNOTATED, BOUND) * 10)
