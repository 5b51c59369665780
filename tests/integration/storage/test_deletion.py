"""Deletion: complete in the end, truthful meanwhile, and of nothing that is to stay."""

import datetime as dt
import json
from collections.abc import Callable
from functools import partial

from caios_federation.api import vocabulary as words
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import NAMESPACE
from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, Storage, granted
from integration.storage.fleet import foreign
from integration.storage.remote import Json

Federate = Callable[..., str]
FAILED = ("False", "DeleteFailed")
OUTAGE_SECONDS = 60.0
BACK_SECONDS = 25.0
"""Longest pause of the client after failures in a row (15 s) with the queue's jitter, and a busy
machine."""


def test_a_deletion_outlasts_an_outage_of_a_minute_and_says_why(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    name = federate()
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    policy = storage.policy_name(namespace, "reader")
    with storage.remote.failing({"dropConnection": True}):
        storage.delete(namespace, "reader", wait=False)
        expected = {"PolicySynced": FAILED, "Ready": FAILED}
        wait_for(lambda: storage.conditions(namespace, "reader"), expected)
        before = storage.world.get("fsb", namespace, "reader")
        # Others go on.
        storage.world.apply(*granted(namespace, name="plain", federationName=name))
        wait_for(lambda: storage.ready(namespace, "plain"), READY)
        assert eventually(
            lambda: _tried_for_seconds(storage, policy) >= OUTAGE_SECONDS, OUTAGE_SECONDS + 20
        )
        assert storage.world.get("fsb", namespace, "reader") == before
        assert storage.events(namespace, "reader")["CleanupBlocked"] == 1
    assert eventually(lambda: not storage.exists(namespace, "reader"), BACK_SECONDS)
    assert policy not in storage.remote.policies()
    wait_for(lambda: storage.events(namespace, "reader")["PolicyRemoved"], 1)


def test_a_retained_policy_stays_until_a_binding_takes_it_up_again(
    storage: Storage, namespace: str
) -> None:
    objects = granted(namespace, READ, deletionPolicy="Retain")
    storage.world.apply(*objects)
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    name, policy = storage.policy_name(namespace, "reader"), storage.policy_of(namespace, "reader")
    storage.delete(namespace, "reader")
    assert _retained(storage)[name] == f"{namespace}/reader"
    storage.sweep()
    storage.restart()
    storage.sweep()
    assert storage.policy_of(namespace, "reader") == policy
    assert name in _retained(storage)

    changes = len(storage.remote.changes())
    storage.world.apply(*objects)
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    assert name not in _retained(storage)
    assert [c for c in storage.remote.changes()[changes:] if c.name == name] == []

    storage.world.apply(*granted(namespace, READ, deletionPolicy="Delete"))
    storage.delete(namespace, "reader")
    assert name not in storage.remote.policies()


def test_a_deleted_namespace_goes_with_its_policies(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    names = _applied(storage, namespace, federate())
    storage.world.kubectl.run("delete", "namespace", namespace, "--timeout=60s")
    assert names & storage.remote.policies().keys() == set()


def test_a_namespace_that_is_deleted_during_an_outage_goes_after_it(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    names = _applied(storage, namespace, federate())
    with storage.remote.failing({"status": 503}):
        storage.world.kubectl.run("delete", "namespace", namespace, "--wait=false")
        for binding in range(len(names)):
            wait_for(partial(storage.ready, namespace, f"reader-{binding}"), FAILED)
    storage.world.kubectl.run("wait", "--for=delete", f"namespace/{namespace}", "--timeout=60s")
    assert names & storage.remote.policies().keys() == set()


def test_without_its_federation_a_binding_goes_and_its_policy_waits_for_the_federation(
    storage: Storage, namespace: str
) -> None:
    storage.world.apply(*granted(namespace, READ))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    # All of them: the orphans of a cluster are swept by any federation of the organization.
    storage.world.kubectl.run("delete", "sfed", "--all")
    try:
        wait_for(lambda: storage.ready(namespace, "reader"), ("False", "FederationNotFound"))
        before = storage.policy_of(namespace, "reader")
        storage.delete(namespace, "reader")
        wait_for(lambda: storage.events(namespace, "reader")["PolicyAbandoned"], 1)
        assert storage.policy_of(namespace, "reader") == before is not None
    finally:
        storage.world.apply(storage.federation())
    wait_for(lambda: storage.policy_of(namespace, "reader"), None)


def test_a_federation_that_only_renders_lets_go_and_takes_over_again(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    name = federate()
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    assert storage.finalizers(namespace, "reader") == [words.POLICY_FINALIZER]
    policy = storage.policy_of(namespace, "reader")
    changes = len(storage.remote.changes())

    federate(policyManagement="Rendered")
    wait_for(lambda: storage.finalizers(namespace, "reader"), [])
    wait_for(lambda: storage.conditions(namespace, "reader").get("PolicySynced"), None)
    assert storage.ready(namespace, "reader") == READY
    storage.sweep()
    assert storage.policy_of(namespace, "reader") == policy

    federate()
    wait_for(lambda: storage.finalizers(namespace, "reader"), [words.POLICY_FINALIZER])
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    assert storage.conditions(namespace, "reader")["PolicySynced"] == ("True", "Synced")
    assert [c for c in storage.remote.changes()[changes:] if c.name == policy["name"]] == []


def test_what_went_while_the_operator_was_away_leaves_no_policy(
    storage: Storage, namespace: str
) -> None:
    others = foreign(storage)
    for policy in others.values():
        storage.remote.put_policy(policy)
    storage.world.apply(*granted(namespace, READ))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    storage.world.product.stop()
    try:
        where = f"--namespace={namespace}"
        forced = json.dumps({"metadata": {"finalizers": None}})
        storage.world.kubectl.run("patch", "fsb", "reader", where, "--type=merge", "-p", forced)
        storage.delete(namespace, "reader")
        assert storage.policy_of(namespace, "reader") is not None
    finally:
        storage.restart()
    wait_for(lambda: storage.policy_of(namespace, "reader"), None)
    found = storage.remote.policies()
    assert {name: found[name] for name in others} == others


def _applied(storage: Storage, namespace: str, federation: str) -> set[str]:
    """Have three Ready bindings; return the names of their policies."""
    names = [f"reader-{number}" for number in range(3)]
    objects: list[Json] = []
    for name in names:
        objects += granted(namespace, READ, name=name, federationName=federation)
    storage.world.apply(*objects)
    for name in names:
        wait_for(partial(storage.ready, namespace, name), READY)
    return {storage.policy_name(namespace, name) for name in names}


def _retained(storage: Storage) -> dict[str, str]:
    """Return the record of retained policies."""
    body = storage.world.get("configmap", NAMESPACE, words.RETAINED_POLICIES) or {}
    found: dict[str, str] = body.get("data", {})
    return found


def _tried_for_seconds(storage: Storage, policy: str) -> float:
    """Return for how long removing a policy is being tried, by the log of requests."""
    tried = [
        dt.datetime.fromisoformat(entry["time"])
        for entry in storage.remote.requests("DeleteAccessPolicy")
        if entry["path"].endswith(f"/{policy}")
    ]
    return (max(tried) - min(tried)).total_seconds() if tried else 0.0
