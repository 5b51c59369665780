"""The operator on a real control plane, with an organization at the emulator that it manages."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from caios_federation.core.naming import policy_name, policy_prefix
from caios_federation.core.principal import Issuer
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.ports import free_ports
from caios_testbed.coreweave.app import Options
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.threaded import running
from caios_testbed.product import NAMESPACE, Kubectl, Product
from integration.product.conftest import World, bound, federation, wait_for
from integration.storage.remote import Json, Remote, policy_like

SETTINGS = {
    "CAIOS_RECONCILE__RESYNC_SECONDS": "4",
    "CAIOS_RECONCILE__LONGEST_BACKOFF_SECONDS": "2",
    "CAIOS_RECONCILE__PROBE_SECONDS": "2",
    "CAIOS_RECONCILE__MISSED_SECONDS": "2",
    "CAIOS_CACHES__AUDIT_PERIOD_SECONDS": "4",
    "CAIOS_VERIFICATION__RETRY_SECONDS": "1",
    "CAIOS_VERIFICATION__GRACE_SECONDS": "5",
    "CAIOS_COREWEAVE__TIMEOUT_SECONDS": "2",
}
"""Short periods, so that what happens on them happens within a test."""
SECRET = "coreweave-api-token"
OPEN_RULE = {
    "name": "everything",
    "namespaceSelector": {},
    "buckets": ["*"],
    "access": ["ReadOnly", "ReadWrite", "WriteOnly", "FullControl"],
}


READ = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}
READY = ("True", "Ready")


@dataclass(frozen=True, slots=True)
class Storage:
    """The cluster and the organization."""

    world: World
    remote: Remote

    @property
    def prefix(self) -> str:
        """What the names of this cluster's policies start with."""
        return policy_prefix(Issuer(self.world.plane.issuer))

    def federation(self, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
        """Return the default federation, managed and verified unless `spec` says otherwise."""
        managed = {
            "apiTokenSecretName": SECRET,
            "policyManagement": "Managed",
            "trustManagement": "Managed",
            "verification": "Enabled",
            "endpoints": {"api": self.remote.emulator.url},
            "grantRules": [OPEN_RULE],
        }
        return federation(**{**managed, **spec})

    def ready(self, namespace: str, name: str) -> tuple[str | None, str | None]:
        """Return status and reason of a binding's Ready."""
        condition = self.world.condition(namespace, name, "Ready")
        return condition.get("status"), condition.get("reason")

    def own_policies(self) -> dict[str, Any]:
        """Return the policies of this cluster."""
        return {n: p for n, p in self.remote.policies().items() if n.startswith(self.prefix)}

    def policy_name(self, namespace: str, name: str) -> str:
        """Return the name of a binding's policy."""
        return policy_name(Issuer(self.world.plane.issuer), namespace, name)

    def policy_of(self, namespace: str, name: str) -> Any:  # noqa: ANN401  # any JSON
        """Return a binding's policy at CoreWeave, or None."""
        return self.remote.policies().get(self.policy_name(namespace, name))

    def of_federation(self, name: str, kind: str) -> Json:
        """Return a condition of a federation; empty while it is not there."""
        body = self.world.get("sfed", "default", name) or {}
        found = body.get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {})

    def events(self, namespace: str, name: str) -> Counter[str]:
        """Return how many events of each reason there are about a binding."""
        about = f"involvedObject.name={name}"
        text = self.world.kubectl.run(
            "get", "events", f"--namespace={namespace}", f"--field-selector={about}", "-o=json"
        )
        return Counter(event["reason"] for event in json.loads(text)["items"])

    def conditions(self, namespace: str, name: str) -> dict[str, tuple[str, str]]:
        """Return status and reason of a binding's conditions by type."""
        body = self.world.get("fsb", namespace, name) or {}
        found = body.get("status", {}).get("conditions", [])
        return {each["type"]: (each["status"], each["reason"]) for each in found}

    def exists(self, namespace: str, name: str) -> bool:
        """Tell whether a binding is there, maybe on its way out."""
        return self.world.get("fsb", namespace, name) is not None

    def finalizers(self, namespace: str, name: str) -> list[str]:
        """Return a binding's finalizers."""
        body = self.world.get("fsb", namespace, name) or {}
        found: list[str] = body["metadata"].get("finalizers", [])
        return found

    def delete(self, namespace: str, name: str, *, wait: bool = True) -> None:
        """Delete a binding; wait until it is gone, or not."""
        self.world.kubectl.run(
            "delete", "fsb", name, f"--namespace={namespace}", f"--wait={str(wait).lower()}"
        )

    def sweep(self) -> None:
        """Return once policies were listed and orphans removed after this call.

        Removed is an orphan of a new name: what the operator removed just now it takes for gone.
        It is the last in the order in which orphans are removed.
        """
        name = f"{self.prefix}zzz-{uuid.uuid4().hex[:8]}"
        self.remote.put_policy({**policy_like("s3:GetObject"), "name": name})
        wait_for(lambda: name in self.remote.policies(), expected=False)

    def restart(self) -> None:
        """Start the operator anew, ended as Kubernetes ends it if it still runs."""
        self.world.product.start(SETTINGS)


def account(namespace: str, name: str) -> Json:
    """Return a ServiceAccount without annotations: a binding is enough.

    For an annotated one the operator makes a binding of that name, maybe before ours is applied.
    """
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def granted(namespace: str, *grants: dict[str, Any], **spec: Any) -> tuple[dict[str, Any], ...]:  # noqa: ANN401  # JSON
    """Return a ServiceAccount and its binding, of one name: `reader`, unless `name` is given."""
    name = spec.pop("name", "reader")
    asked = {"grants": list(grants)} if grants else {}
    return account(namespace, name), bound(namespace, name, name, **asked, **spec)


def secret(token: str, name: str = SECRET) -> dict[str, Any]:
    """Return the Secret that holds the API token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {"token": token},
    }


@contextmanager
def opened(directory: Path, settings: Mapping[str, str]) -> Iterator[Storage]:
    """Yield a control plane, an organization and the product that connects them."""
    with ControlPlane.start(directory / "plane") as plane:
        kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        keys = json.loads(kubectl.run("get", "--raw", "/openid/v1/jwks"))
        options = Options(
            issuers={plane.issuer: IssuerSource(keys=keys)}, ca_directory=directory / "ca"
        )
        with running(options) as emulator, urllib3.PoolManager() as pool:
            product = Product(directory / "operator", kubectl, "127.0.0.1", *free_ports(1))
            product.install()
            storage = Storage(World(plane, kubectl, product), Remote(emulator, pool))
            storage.world.apply(secret(emulator.api_token), storage.federation())
            try:
                product.start(settings)
                yield storage
            finally:
                product.stop()


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """Yield the world of this folder."""
    with opened(tmp_path_factory.mktemp("storage"), SETTINGS) as found:
        yield found


@pytest.fixture
def namespace(storage: Storage) -> str:
    """Return a namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    storage.world.kubectl.run("create", "namespace", name)
    return name


@pytest.fixture
def federate(storage: Storage, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Return what applies a federation of the test's own, named after it, and returns its name.

    It is managed but neither trusted nor verified, unless the call says otherwise, and goes with
    the test.
    """
    name = str(request.node.originalname).replace("_", "-")
    plain = {"trustManagement": "Unmanaged", "verification": "Disabled"}

    def apply(**spec: Any) -> str:  # noqa: ANN401  # JSON
        storage.world.apply(storage.federation(name=name, **{**plain, **spec}))
        return name

    yield apply
    storage.world.kubectl.run("delete", "sfed", name, "--ignore-not-found")
