"""Pods are counted and what owns them is restarted, over HTTP, whatever the API server answers."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import web

import builders
from builders import FEDERATED, Json
from caios_federation.api.binding import parse_binding
from caios_federation.clients.errors import Expired, Unavailable
from caios_federation.core.plan import Placement
from caios_federation.core.pods import Survey
from caios_federation.reconcile.pods import (
    EVICTION_SECONDS,
    ROLLOUT_SECONDS,
    Remedied,
    Restarts,
    remediate,
    survey,
)
from caios_federation.settings import RemediationSettings
from component.clients.api_server import ScriptedApi, Seen, failure, reply, scripted
from component.reconcile.hands import hands

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
INJECTING = NOW - dt.timedelta(hours=1)
OLD, NEW = "2026-11-24T11:00:00Z", "2026-11-24T11:59:00Z"
RESTARTED_AT = "caios.coreweave.com/restarted-at"
APPS = "/apis/apps/v1/namespaces/team-a"
PODS = "/api/v1/namespaces/team-a/pods"
PLURALS = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "ReplicaSet": "replicasets",
}


def merged(body: Json, patch: Json) -> Json:
    """Apply a JSON merge patch (RFC 7386)."""
    result = dict(body)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            before = result.get(key) or {}
            result[key] = merged(before, value) if isinstance(value, dict) else value
    return result


@dataclass(slots=True)
class Cluster:
    """Pods and their owners, and what the API server refuses."""

    pods: list[Json] = field(default_factory=list)
    owners: dict[str, Json] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    """The status that requests of a method and the end of their path get."""
    page_size: int = 500
    evicted: list[str] = field(default_factory=list)

    async def __call__(self, request: Seen) -> web.StreamResponse:
        for what, status in self.refusals.items():
            method, _, end = what.partition(" ")
            if request.method == method and request.path.endswith(end):
                return failure(status, "refused")
        if request.path == PODS:
            return self._page(request)
        if request.path.endswith("/eviction"):
            self.evicted.append(request.path.split("/")[-2])
            return reply(kind="Status", status="Success")
        found = self.owners.get(request.path)
        if found is None:
            return failure(404, "not found")
        if request.method == "PATCH":
            if request.json["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                return failure(409, "the object has been modified")
            self.owners[request.path] = found = merged(found, request.json)
        return reply(**found)

    def _page(self, request: Seen) -> web.StreamResponse:
        start = int(request.query.get("continue", "0"))
        end = start + int(request.query["limit"])
        more = {"continue": str(end)} if end < len(self.pods) else {}
        return reply(kind="PodList", items=self.pods[start:end], metadata=more)

    def own(self, kind: str, name: str, *, of: Json | None = None, **fields: Any) -> Json:  # noqa: ANN401  # JSON
        """Add an owner, itself owned by `of`; return the reference to it."""
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"u-{name}"}
        metadata = {
            "name": name,
            "namespace": "team-a",
            "uid": f"u-{name}",
            "resourceVersion": "1",
            **({"ownerReferences": [{**of, "controller": True}]} if of else {}),
        }
        self.owners[f"{APPS}/{PLURALS[kind]}/{name}"] = {"metadata": metadata, **fields}
        return reference

    def run(
        self, name: str, of: Json | None = None, created: str = OLD, *, ok: bool = False
    ) -> None:
        """Add a Pod; one that is `ok` carries the identity."""
        raw = builders.inject(builders.pod()).pod if ok else builders.pod()
        raw["metadata"] |= {"name": name, "uid": f"u-{name}", "creationTimestamp": created}
        if of is not None:
            raw["metadata"]["ownerReferences"] = [{**of, "controller": True}]
        self.pods.append(raw)

    def restarted_at(self, kind: str, name: str) -> str | None:
        """Return what the owner's Pod template says."""
        template = self.owners[f"{APPS}/{PLURALS[kind]}/{name}"].get("spec", {}).get("template", {})
        found: str | None = template.get("metadata", {}).get("annotations", {}).get(RESTARTED_AT)
        return found


@dataclass(slots=True)
class World:
    """A cluster, and what looks after it."""

    cluster: Cluster
    server: ScriptedApi
    restarts: Restarts

    async def survey(self, page_size: int = 500) -> Survey:
        return await survey(self.server.client, FEDERATED, Placement(), page_size=page_size)

    async def look(
        self,
        remediation: str = "Restart",
        injecting_since: dt.datetime | None = INJECTING,
        now: dt.datetime = NOW,
    ) -> Remedied:
        """Count, and restart."""
        binding = parse_binding(builders.binding(remediation=remediation), ours=False)
        async with hands(self.server.client, lambda: now) as acting:
            found = await self.survey()
            return await remediate(acting, self.restarts, binding, found, injecting_since)


@contextlib.asynccontextmanager
async def world(**settings: float) -> AsyncIterator[World]:
    cluster = Cluster()
    chosen = {"restarts_per_minute": 1e9, **settings}
    async with scripted(cluster) as server:
        yield World(cluster, server, Restarts(RemediationSettings(**chosen)))


# Counting ---------------------------------------------------------------------------------------


async def test_pods_are_listed_by_service_account_and_page() -> None:
    async with world() as here:
        for number in range(5):
            here.cluster.run(f"p{number}", ok=number == 0)
        found = await here.survey(page_size=2)
        assert found.summary().missed == ("p1", "p2", "p3", "p4")
        assert (found.summary().total, found.summary().federated) == (5, 1)
        assert [request.query["limit"] for request in here.server.seen] == ["2", "2", "2"]
        selector = {request.query["fieldSelector"] for request in here.server.seen}
        assert selector == {"spec.serviceAccountName=reader"}


async def test_pods_that_may_not_be_listed_are_told_of() -> None:
    async with world() as here:
        here.cluster.refusals["GET /pods"] = 403
        found = await here.survey()
        assert found.pods == ()
        assert "403" in found.problem


@pytest.mark.parametrize(("status", "error"), [(410, Expired), (503, Unavailable)])
async def test_a_listing_that_may_work_later_is_left_to_the_queue(
    status: int, error: type[Exception]
) -> None:
    async with world() as here:
        here.cluster.refusals["GET /pods"] = status
        with pytest.raises(error):
            await here.survey()


# Restarting -------------------------------------------------------------------------------------


async def test_a_deployment_is_restarted_once_for_all_its_pods() -> None:
    async with world() as here:
        deployment = here.cluster.own("Deployment", "trainer")
        replicas = here.cluster.own("ReplicaSet", "trainer-1", of=deployment)
        for name in ("a", "b", "c"):
            here.cluster.run(name, replicas)
        done = await here.look()
        assert done.restarted == (
            "restarted Deployment 'trainer' at 2026-11-24T12:00:00Z: 3 Pods had missed injection",
        )
        assert here.cluster.restarted_at("Deployment", "trainer") == "2026-11-24T12:00:00Z"
        assert done.pods.next_step == "Deployment 'trainer' is being restarted"
        again = await here.look(now=NOW + dt.timedelta(minutes=1))
        assert again.restarted == ()
        assert again.pods == done.pods
        assert sum(asked.startswith("PATCH") for asked in here.server.asked) == 1


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_what_rolls_its_own_pods_is_restarted(kind: str) -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own(kind, "trainer"))
        done = await here.look()
        assert len(done.restarted) == 1
        assert here.cluster.restarted_at(kind, "trainer") == "2026-11-24T12:00:00Z"


async def test_a_binding_that_only_reports_restarts_nothing_and_reads_no_owner() -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("StatefulSet", "trainer"))
        done = await here.look("Report")
        assert done.restarted == ()
        assert "spec.remediation: Restart" in done.pods.next_step
        assert here.server.asked == [f"GET {PODS}"]


async def test_nothing_is_restarted_while_the_webhook_does_not_serve() -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("StatefulSet", "trainer"))
        done = await here.look(injecting_since=None)
        assert done.restarted == ()
        assert "InjectionServing" in done.pods.next_step


async def test_jobs_foreign_kinds_and_bare_pods_are_only_reported() -> None:
    async with world() as here:
        job = {"apiVersion": "batch/v1", "kind": "Job", "name": "once", "uid": "u-once"}
        rollout = {"apiVersion": "argoproj.io/v1", "kind": "Rollout", "name": "r", "uid": "u-r"}
        here.cluster.run("a", job)
        here.cluster.run("b", here.cluster.own("ReplicaSet", "r-1", of=rollout))
        here.cluster.run("c")
        done = await here.look()
        assert done.restarted == ()
        assert done.again_after_seconds is None
        assert "does not restart what a Job runs" in done.pods.next_step
        assert all(asked.startswith("GET") for asked in here.server.asked)


async def test_a_kind_of_the_same_name_in_another_group_is_only_reported() -> None:
    async with world() as here:
        foreign = {"apiVersion": "apps.kruise.io/v1", "kind": "StatefulSet"}
        here.cluster.run("a", {**here.cluster.own("StatefulSet", "trainer"), **foreign})
        assert (await here.look()).restarted == ()


async def test_a_paused_deployment_is_only_reported() -> None:
    async with world() as here:
        deployment = here.cluster.own("Deployment", "trainer", spec={"paused": True})
        here.cluster.run("a", here.cluster.own("ReplicaSet", "trainer-1", of=deployment))
        done = await here.look()
        assert done.restarted == ()
        assert "spec.paused" in done.pods.next_step


async def test_an_owner_that_is_gone_or_another_by_now_is_left_alone() -> None:
    async with world() as here:
        gone = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "gone", "uid": "u-gone"}
        here.cluster.run("a", gone)
        here.cluster.run("b", {**here.cluster.own("StatefulSet", "trainer"), "uid": "u-former"})
        done = await here.look()
        assert done.restarted == ()
        assert done.pods.missed == ("a", "b")


async def test_new_pods_that_missed_again_are_reported_and_not_restarted_again() -> None:
    async with world() as here:
        noted = {"metadata": {"annotations": {RESTARTED_AT: "2026-11-24T11:30:00Z"}}}
        deployment = here.cluster.own("Deployment", "trainer", spec={"template": noted})
        here.cluster.run(
            "a", here.cluster.own("ReplicaSet", "trainer-1", of=deployment), created=NEW
        )
        done = await here.look()
        assert done.restarted == ()
        assert "its new Pods missed injection too" in done.pods.next_step


async def test_an_injected_pod_of_the_new_replica_set_is_evidence_that_injection_works() -> None:
    async with world() as here:
        noted = {"metadata": {"annotations": {RESTARTED_AT: "2026-11-24T11:30:00Z"}}}
        deployment = here.cluster.own("Deployment", "trainer", spec={"template": noted})
        here.cluster.run("a", here.cluster.own("ReplicaSet", "rs-1", of=deployment), created=NEW)
        here.cluster.run("b", here.cluster.own("ReplicaSet", "rs-2", of=deployment), NEW, ok=True)
        done = await here.look()
        assert len(done.restarted) == 1


async def test_restarts_of_all_bindings_together_are_spread() -> None:
    async with world(restarts_per_minute=0.5) as here:
        for name in ("one", "two"):
            here.cluster.run(name, here.cluster.own("StatefulSet", name))
        done = await here.look()
        assert len(done.restarted) == 1
        assert done.again_after_seconds == ROLLOUT_SECONDS, "the first one's Pods are on their way"
        assert done.pods.next_step == (
            "StatefulSet 'one' is being restarted; StatefulSet 'two' is being restarted"
        )


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["GET /trainer", "PATCH /trainer"])
async def test_a_right_that_is_missing_is_told_with_what_it_is_for(what: str) -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("StatefulSet", "trainer"))
        here.cluster.refusals[what] = 403
        done = await here.look()
        assert done.restarted == ()
        assert done.pods.next_step.startswith(
            "the operator may not restart StatefulSet 'trainer': API server: "
        )
        assert "403" in done.pods.next_step


@pytest.mark.parametrize("status", [409, 503])
async def test_a_restart_that_did_not_come_about_is_tried_again_soon(status: int) -> None:
    async with world() as here:
        for name in ("one", "two"):
            here.cluster.run(name, here.cluster.own("StatefulSet", name))
        here.cluster.refusals["PATCH /one"] = status
        with structlog.testing.capture_logs():
            done = await here.look()
        assert done.again_after_seconds is not None
        assert done.again_after_seconds <= 15
        assert [sentence.split()[2] for sentence in done.restarted] == ["'two'"]
        assert here.cluster.restarted_at("StatefulSet", "one") is None


async def test_an_owner_that_went_meanwhile_is_no_trouble() -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("StatefulSet", "trainer"))
        here.cluster.refusals["PATCH /trainer"] = 404
        done = await here.look()
        assert done.restarted == ()
        assert done.again_after_seconds == ROLLOUT_SECONDS


# Bare ReplicaSets -------------------------------------------------------------------------------


async def test_pods_of_a_bare_replica_set_are_evicted_after_that_was_noted_on_it() -> None:
    async with world() as here:
        replicas = here.cluster.own("ReplicaSet", "bare", spec={"replicas": 2})
        here.cluster.run("a", replicas)
        here.cluster.run("b", replicas)
        here.cluster.run("c", replicas, ok=True)
        done = await here.look()
        assert len(done.restarted) == 1
        assert done.again_after_seconds == EVICTION_SECONDS
        assert here.cluster.evicted == ["a", "b"]
        assert here.cluster.restarted_at("ReplicaSet", "bare") is None
        writes = [asked for asked in here.server.asked if not asked.startswith("GET")]
        assert writes[0] == f"PATCH {APPS}/replicasets/bare"


async def test_an_eviction_names_the_pod_that_was_seen() -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("ReplicaSet", "bare"))
        await here.look()
        assert here.server.seen[-1].json["deleteOptions"] == {"preconditions": {"uid": "u-a"}}


async def test_a_disruption_budget_holds_evictions_and_they_go_on_later() -> None:
    async with world() as here:
        replicas = here.cluster.own("ReplicaSet", "bare")
        here.cluster.run("a", replicas)
        here.cluster.refusals["POST /eviction"] = 429
        done = await here.look()
        assert here.cluster.evicted == []
        assert done.again_after_seconds == EVICTION_SECONDS
        here.cluster.refusals.clear()
        later = await here.look(now=NOW + dt.timedelta(seconds=EVICTION_SECONDS))
        assert later.restarted == ()
        assert here.cluster.evicted == ["a"]


async def test_pods_that_replaced_the_evicted_ones_and_missed_again_are_left_alone() -> None:
    async with world() as here:
        replicas = here.cluster.own("ReplicaSet", "bare")
        here.cluster.run("a", replicas)
        await here.look()
        here.cluster.pods.clear()
        here.cluster.run("b", replicas, created="2026-11-24T12:00:05Z")
        done = await here.look(now=NOW + dt.timedelta(hours=1))
        assert here.cluster.evicted == ["a"]
        assert "its new Pods missed injection too" in done.pods.next_step


async def test_evictions_stop_as_soon_as_a_successor_missed_injection_too() -> None:
    async with world() as here:
        replicas = here.cluster.own(
            "ReplicaSet", "bare", spec={"replicas": 2}, status={"readyReplicas": 2}
        )
        here.cluster.run("a", replicas)
        await here.look()
        here.cluster.run("b", replicas, created="2026-11-24T12:00:05Z")
        await here.look(now=NOW + dt.timedelta(minutes=1))
        assert here.cluster.evicted == ["a"]


async def test_what_is_restarted_is_logged_without_the_pods() -> None:
    async with world() as here:
        here.cluster.run("a", here.cluster.own("StatefulSet", "trainer"))
        with structlog.testing.capture_logs() as lines:
            await here.look()
        assert lines == [
            {
                "event": "workload restarted",
                "log_level": "info",
                "component": "controller",
                "kind": "StatefulSet",
                "namespace": "team-a",
                "name": "trainer",
                "binding": "reader",
                "missed": 1,
            }
        ]
