"""Pods that missed injection, restarted by what owns them, on a real control plane."""

import datetime as dt
import json

from builders import Json
from caios_testbed.product import operator_writes
from integration.pods.conftest import World, template, workload
from integration.product.conftest import wait_for

RESTARTED_AT = "caios.coreweave.com/restarted-at"
PRINCIPAL = "caios.coreweave.com/principal"
AT_ONCE = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}
HOUR = dt.timedelta(hours=1)


def count(world: World, namespace: str) -> int:
    return len(world.missed(namespace))


def generation(world: World, kind: str, namespace: str) -> int:
    found: int = world.get(kind, namespace, "trainer")["metadata"]["generation"]
    return found


def names(world: World, namespace: str) -> set[str]:
    return {pod.name for pod in world.survey(namespace).pods}


def make_ready(world: World, namespace: str, name: str) -> None:
    """Do as a kubelet would: Pods that are Pending are evicted whatever a budget says."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.kubectl.run(
        "patch",
        "pod",
        name,
        f"-n={namespace}",
        "--subresource=status",
        f"--patch={json.dumps({'status': status})}",
    )


def test_a_deployment_is_restarted_exactly_once_and_again_after_an_outage(
    world: World, namespace: str
) -> None:
    world.apply(workload("Deployment", namespace, replicas=4, strategy=AT_ONCE))
    wait_for(lambda: count(world, namespace), 4)
    before = names(world, namespace)

    done = world.look(namespace)
    assert [text.split(" at ")[0] for text in done.restarted] == ["restarted Deployment 'trainer'"]
    assert generation(world, "deployment", namespace) == 2
    # Nobody injects here, so the new Pods miss too.
    wait_for(lambda: (count(world, namespace), names(world, namespace) & before), (4, set()))

    for _ in range(3):
        again = world.look(namespace, now=dt.datetime.now(dt.UTC) + HOUR)
        assert again.restarted == ()
        assert "its new Pods missed injection too" in again.pods.next_step
    assert generation(world, "deployment", namespace) == 2

    now = dt.datetime.now(dt.UTC)
    outage_ended = (now + HOUR).isoformat()
    done = world.look(namespace, now=now + 2 * HOUR, injecting_since=outage_ended)
    assert len(done.restarted) == 1
    assert generation(world, "deployment", namespace) == 3
    assert world.look(namespace, now=now + 3 * HOUR, injecting_since=outage_ended).restarted == ()


def test_a_deployment_whose_pods_carry_another_principal_is_restarted_once(
    world: World, namespace: str
) -> None:
    injected = world.injected(namespace)
    injected["metadata"]["annotations"][PRINCIPAL] = "role/https://former:system:x"
    world.apply(workload("Deployment", namespace, replicas=2, strategy=AT_ONCE, template=injected))
    wait_for(lambda: count(world, namespace), 2)
    before = names(world, namespace)

    done = world.look(namespace)
    assert [text.split(": ")[1] for text in done.restarted] == ["2 Pods carried another principal"]
    # There is no webhook here, so the new Pods carry what the template says.
    wait_for(lambda: (count(world, namespace), names(world, namespace) & before), (2, set()))
    again = world.look(namespace, now=dt.datetime.now(dt.UTC) + HOUR)
    assert again.restarted == ()
    assert "its new Pods carry another principal too" in again.pods.next_step

    now = dt.datetime.now(dt.UTC)
    changed_again = (now + HOUR).isoformat()
    for hours, restarts in ((2, 1), (3, 0)):
        later = now + hours * HOUR
        done = world.look(namespace, now=later, injecting_since=changed_again)
        assert len(done.restarted) == restarts
    assert generation(world, "deployment", namespace) == 3


def test_a_restart_replaces_the_pods_of_a_stateful_set(world: World, namespace: str) -> None:
    spec = {"replicas": 2, "serviceName": "trainer", "podManagementPolicy": "Parallel"}
    world.apply(workload("StatefulSet", namespace, **spec))
    wait_for(lambda: count(world, namespace), 2)
    assert len(world.look(namespace).restarted) == 1

    def revisions_differ() -> bool:
        status = world.get("statefulset", namespace, "trainer").get("status", {})
        return bool(status.get("currentRevision") != status.get("updateRevision"))

    wait_for(revisions_differ, expected=True)
    assert generation(world, "statefulset", namespace) == 2


def test_a_daemon_set_is_restarted(world: World, namespace: str) -> None:
    world.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "somewhere"}})
    world.apply(workload("DaemonSet", namespace))
    wait_for(lambda: count(world, namespace), 1)
    assert len(world.look(namespace).restarted) == 1
    assert generation(world, "daemonset", namespace) == 2


def test_jobs_and_bare_pods_are_only_reported(world: World, namespace: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": namespace},
        "spec": {"template": template(restartPolicy="Never")},
    }
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare", "namespace": namespace},
        "spec": template()["spec"],
    }
    world.apply(job, bare)
    wait_for(lambda: count(world, namespace), 2)
    before = operator_writes(world.plane.audit_log)
    done = world.look(namespace)
    assert done.restarted == ()
    assert "does not restart what a Job runs" in done.pods.next_step
    assert "without a controller" in done.pods.next_step
    assert operator_writes(world.plane.audit_log) == before


def budget(namespace: str, at_least: int) -> Json:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "trainer", "namespace": namespace},
        "spec": {"minAvailable": at_least, "selector": {"matchLabels": {"app": "trainer"}}},
    }


def can_lose(world: World, namespace: str) -> tuple[int, int]:
    """Return how many Pods the budget can spare, and how many Pods are ready."""
    status = world.get("poddisruptionbudget", namespace, "trainer").get("status", {})
    ready = world.get("replicaset", namespace, "trainer").get("status", {})
    return status.get("disruptionsAllowed", -1), ready.get("readyReplicas", 0)


def left_after_a_look(world: World, namespace: str, pods: set[str]) -> int:
    """Have the operator look; return how many of `pods` are left."""
    assert world.look(namespace).restarted == ()
    return len(names(world, namespace) & pods)


def test_a_bare_replica_set_is_evicted_within_its_disruption_budget(
    world: World, namespace: str
) -> None:
    world.apply(workload("ReplicaSet", namespace, replicas=3), budget(namespace, 3))
    wait_for(lambda: count(world, namespace), 3)
    before = names(world, namespace)
    for name in before:
        make_ready(world, namespace, name)
    wait_for(lambda: can_lose(world, namespace), (0, 3))
    newest = max(pod.created for pod in world.survey(namespace).pods)
    wait_for(lambda: dt.datetime.now(dt.UTC).replace(microsecond=0) > newest, expected=True)

    done = world.look(namespace)
    assert len(done.restarted) == 1
    assert names(world, namespace) == before  # the budget spares none

    # There is no webhook here: the next Pods come injected.
    world.apply(workload("ReplicaSet", namespace, replicas=3, template=world.injected(namespace)))
    world.apply(budget(namespace, 2))
    wait_for(lambda: can_lose(world, namespace), (1, 3))
    for left in (2, 1, 0):
        wait_for(lambda: left_after_a_look(world, namespace, before), left)
        # Its successor is not ready, so that the next look evicts nobody.
        wait_for(lambda: len(names(world, namespace)), 3)
        assert left_after_a_look(world, namespace, before) == left
        for name in names(world, namespace) - before:
            make_ready(world, namespace, name)
        wait_for(lambda: can_lose(world, namespace), (1, 3))

    found = world.survey(namespace).summary()
    assert (found.total, found.federated) == (3, 3)


def test_pods_are_found_by_their_service_account_alone(world: World, namespace: str) -> None:
    other = template(serviceAccountName="default")
    world.apply(workload("Deployment", namespace, replicas=2))
    deployment = workload("Deployment", namespace, template=other, replicas=2)
    deployment["metadata"]["name"] = "other"
    world.apply(deployment)
    wait_for(lambda: count(world, namespace), 2)
    assert all(name.startswith("trainer-") for name in world.missed(namespace))


def test_a_paused_deployment_is_left_alone(world: World, namespace: str) -> None:
    world.apply(workload("Deployment", namespace, replicas=1))
    wait_for(lambda: count(world, namespace), 1)
    world.kubectl.run("rollout", "pause", "deployment/trainer", f"-n={namespace}")
    done = world.look(namespace)
    assert done.restarted == ()
    assert "spec.paused" in done.pods.next_step
