"""One `kubectl apply` does it: policy, trust, proof; and a deletion takes it away."""

import uuid
from typing import Any

import pytest

from integration.product.conftest import annotated, bound, wait_for
from integration.storage.conftest import Storage

READ = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}
READY = ("True", "Ready")


@pytest.fixture
def namespace(storage: Storage) -> str:
    """Return a namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    storage.world.kubectl.run("create", "namespace", name)
    return name


def granted(namespace: str, *grants: dict[str, Any], **spec: Any) -> tuple[dict[str, Any], ...]:  # noqa: ANN401  # JSON
    """Return a ServiceAccount and its binding, of one name."""
    account = annotated(namespace, "reader")
    return account, bound(namespace, "reader", "reader", grants=list(grants), **spec)


def test_one_apply_makes_a_binding_ready(storage: Storage, namespace: str) -> None:
    storage.world.apply(*granted(namespace, READ))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    status = (storage.world.get("fsb", namespace, "reader") or {})["status"]
    assert {c["type"]: c["reason"] for c in status["conditions"]} == {
        "Accepted": "Accepted",
        "ServiceAccountFound": "Found",
        "PolicySynced": "Synced",
        "CredentialsVerified": "Verified",
        "PodsFederated": "NoPods",
        "Ready": "Ready",
    }
    assert status["policy"]["name"] in storage.own_policies()
    assert status["lastVerifiedTime"]


def test_a_deleted_binding_takes_its_policy_along(storage: Storage, namespace: str) -> None:
    storage.world.apply(*granted(namespace, READ))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    name = (storage.world.get("fsb", namespace, "reader") or {})["status"]["policy"]["name"]
    storage.world.kubectl.run("delete", "fsb", "reader", f"--namespace={namespace}")
    assert name not in storage.remote.policies()
