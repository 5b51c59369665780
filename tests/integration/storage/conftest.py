"""The operator on a real control plane, with an organization at the emulator that it manages."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from caios_federation.core.naming import policy_prefix
from caios_federation.core.principal import Issuer
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.ports import free_ports
from caios_testbed.coreweave.app import Emulator, Options
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.threaded import running
from caios_testbed.product import NAMESPACE, Kubectl, Product
from integration.product.conftest import World, federation

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
POLICIES = "/v1/cwobject/access-policy"
SECRET = "coreweave-api-token"
OPEN_RULE = {
    "name": "everything",
    "namespaceSelector": {},
    "buckets": ["*"],
    "access": ["ReadOnly", "ReadWrite", "WriteOnly", "FullControl"],
}


@dataclass(frozen=True, slots=True)
class Remote:
    """The emulator, as an administrator of the organization sees it."""

    emulator: Emulator
    pool: urllib3.PoolManager

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # any JSON
        """Send a request with the API token; return the JSON of the answer, which is a success."""
        answer = self.pool.request(
            method,
            self.emulator.url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.emulator.api_token}",
                "Content-Type": "application/json",
            },
        )
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def policies(self) -> dict[str, Any]:
        """Return every policy of the organization by name."""
        return {policy["name"]: policy for policy in self.call("GET", POLICIES)["policies"]}

    def put_policy(self, policy: Mapping[str, Any]) -> None:
        """Create or replace a policy, as a person in the Console would."""
        self.call("POST", POLICIES, {"policy": policy})

    def delete_policy(self, name: str) -> None:
        """Remove a policy."""
        self.call("DELETE", f"{POLICIES}/{name}")

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Have exactly these faults from now on."""
        self.call("PUT", "/testbed/faults", {"rules": list(rules)})

    def requests(self) -> list[dict[str, Any]]:
        """Return the log of requests, but for our own reading."""
        found: list[dict[str, Any]] = self.call("GET", "/testbed/requests")["requests"]
        return found


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


def secret(token: str) -> dict[str, Any]:
    """Return the Secret that holds the API token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
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
