"""One `kubectl apply` does it: policy, trust, proof; and a deletion takes it away."""

from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, Storage, granted


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
