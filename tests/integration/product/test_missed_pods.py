"""Pods that are older than their binding: named by its status, and restarted where it asks."""

from typing import Any

from caios_testbed.cluster.waiting import eventually
from integration.pods.conftest import workload
from integration.product.conftest import World, bound, injected, wait_for

AT_ONCE = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}


def federated(world: World, namespace: str) -> tuple[str | None, Any]:
    """Return what the binding's status says of its Pods."""
    reason = world.condition(namespace, "reader", "PodsFederated").get("reason")
    body = world.get("fsb", namespace, "reader") or {}
    return reason, body.get("status", {}).get("pods")


def start(world: World, namespace: str, **binding: str) -> None:
    """Have two Pods run, and bind their ServiceAccount when they do."""
    account = {"name": "reader", "namespace": namespace}
    world.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    world.apply(workload("Deployment", namespace, replicas=2, strategy=AT_ONCE))
    wait_for(lambda: len(world.items("pods", namespace)), 2)
    world.apply(bound(namespace, "reader", "reader", **binding))


def test_pods_that_missed_injection_are_named(world: World, namespace: str) -> None:
    start(world, namespace)
    names = sorted(pod["metadata"]["name"] for pod in world.items("pods", namespace))
    facts = {"total": 2, "federated": 0, "missed": names}
    wait_for(lambda: federated(world, namespace), ("PodsMissed", facts))
    events = {event["reason"]: event["type"] for event in world.items("events", namespace)}
    assert events["PodsMissed"] == "Warning"


def test_pods_that_missed_injection_are_restarted_once_and_heal(
    world: World, namespace: str
) -> None:
    start(world, namespace, remediation="Restart")
    healed = "AllFederated", {"total": 2, "federated": 2}
    wait_for(lambda: federated(world, namespace), healed)
    assert all(injected(pod) for pod in world.items("pods", namespace))
    deployment = world.get("deployment", namespace, "trainer")
    assert deployment is not None
    assert deployment["metadata"]["generation"] == 2
    told = [e for e in world.items("events", namespace) if e["reason"] == "PodsRestarted"]
    assert [(event["type"], event["message"].split(" at ")[0]) for event in told] == [
        ("Normal", "restarted Deployment 'trainer'")
    ]
    assert eventually(world.settled, 20)
