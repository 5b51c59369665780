"""The operator as a process against a real control plane, once for this folder."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import Kubectl, Product, operator_writes

DEADLINE_SECONDS = 30.0
SETTINGS = {"CAIOS_RECONCILE__RESYNC_SECONDS": "2", "CAIOS_CACHES__AUDIT_PERIOD_SECONDS": "2"}
"""Short periods, so that what happens on them happens within a test."""


@dataclass(frozen=True, slots=True)
class World:
    """A control plane with the product running."""

    plane: ControlPlane
    kubectl: Kubectl
    product: Product

    def apply(self, *objects: dict[str, Any]) -> str:
        """Apply objects in one call; return what kubectl says, warnings included."""
        return self.kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(objects))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        text = self.kubectl.run(
            "get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "-o=yaml"
        )
        found: dict[str, Any] | None = yaml.safe_load(text)
        return found

    def items(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Return all objects of a kind in a namespace."""
        found: list[dict[str, Any]] = yaml.safe_load(
            self.kubectl.run("get", kind, f"--namespace={namespace}", "-o=yaml")
        )["items"]
        return found

    def condition(self, namespace: str, name: str, kind: str) -> dict[str, Any]:
        """Return a condition of a binding; empty while it is not there."""
        body = self.get("fsb", namespace, name) or {}
        conditions = body.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def metrics(self) -> str:
        """Return what the operator shows of itself now, at the port that its log tells."""
        lines = [line for line in self.product.log.read_text().splitlines() if line.startswith("{")]
        ports = [
            line["port"]
            for line in map(json.loads, lines)
            if line["msg"] == "observability serving"
        ]
        with urlopen(f"http://127.0.0.1:{ports[-1]}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def settled(self) -> bool:
        """Tell whether the operator writes nothing in two periods of resync and audit.

        Told by the clock: nothing announces that nothing was done.
        """
        before = len(operator_writes(self.plane.audit_log))
        time.sleep(5)
        return len(operator_writes(self.plane.audit_log)) == before

    def dry_run_pod(self, namespace: str, account: str, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
        """Return a Pod as it would be stored."""
        pod = minimal_pod(namespace, account, **{"name": "dry-run", **metadata})
        text = self.kubectl.run(
            "create", "-f", "-", "--dry-run=server", "-o=yaml", manifest=yaml.safe_dump(pod)
        )
        # Warnings come first, on the same stream.
        found: dict[str, Any] = yaml.safe_load(text[text.index("apiVersion:") :])
        return found


def minimal_pod(namespace: str, account: str, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a Pod of one container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace, **metadata},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "app", "image": "example.com/app:1"}],
        },
    }


def annotated(namespace: str, name: str, **annotations: str) -> dict[str, Any]:
    """Return a ServiceAccount; `inject="true"` unless other annotations are given."""
    words = annotations or {"inject": "true"}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {
                f"caios.coreweave.com/{word.replace('_', '-')}": text
                for word, text in words.items()
            },
        },
    }


def bound(namespace: str, name: str, account: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a FederatedStorageBinding."""
    return {
        "apiVersion": "caios.coreweave.com/v1alpha1",
        "kind": "FederatedStorageBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serviceAccountName": account, **spec},
    }


def federation(name: str = "default", **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a StorageFederation."""
    return {
        "apiVersion": "caios.coreweave.com/v1alpha1",
        "kind": "StorageFederation",
        "metadata": {"name": name},
        "spec": {"organizationID": "cw1234", "region": "US-CENTRAL-05A", **spec},
    }


def injected(pod: dict[str, Any]) -> bool:
    """Tell whether a Pod was given the credentials environment."""
    env = pod["spec"]["containers"][0].get("env", [])
    return any(variable["name"] == "AWS_CONTAINER_CREDENTIALS_FULL_URI" for variable in env)


def wait_for(probe: Callable[[], object], expected: object) -> None:
    """Return as soon as `probe` answers `expected`; fail with its last answer after a while."""
    last: list[object] = []

    def holds() -> bool:
        last[:] = [probe()]
        return last[0] == expected

    assert eventually(holds, DEADLINE_SECONDS), f"still {last[0]!r}, not {expected!r}"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a control plane on which the product serves and the federation is known."""
    directory: Path = tmp_path_factory.mktemp("product")
    with ControlPlane.start(directory / "plane") as plane:
        kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        product = Product(directory / "operator", kubectl, "127.0.0.1", *free_ports(1))
        product.install()
        product.start(SETTINGS)
        try:
            world = World(plane, kubectl, product)
            world.apply(federation(), annotated("default", "probe"))
            # The API server learns of a webhook configuration by a watch of its own.
            wait_for(lambda: injected(world.dry_run_pod("default", "probe")), expected=True)
            yield world
        finally:
            product.stop()


@pytest.fixture
def namespace(world: World) -> str:
    """Return a namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    world.kubectl.run("create", "namespace", name)
    return name
