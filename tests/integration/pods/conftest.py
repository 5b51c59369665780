"""A control plane without a webhook, on which Pods miss injection, and the rights as shipped."""

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from kubernetes.aio.client import ApiClient, Configuration

import builders
from builders import Json
from caios_federation.api.binding import parse_binding
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.core.injection import Sources
from caios_federation.core.plan import Placement
from caios_federation.core.pods import Survey
from caios_federation.core.principal import parse_issuer
from caios_federation.reconcile.pods import Remedied, Restarts, remediate, survey
from caios_federation.settings import RemediationSettings
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import NAMESPACE, Kubectl, Product
from component.reconcile.hands import hands

DEADLINE_SECONDS = 30.0
REMEDIATION = RemediationSettings(cooldown_seconds=0, restarts_per_minute=1e9)


@dataclass(frozen=True, slots=True)
class World:
    """A control plane, and what the operator does to it with the rights of its ServiceAccount."""

    plane: ControlPlane
    kubectl: Kubectl
    token: str

    def apply(self, *objects: Json) -> None:
        self.kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(objects))

    def get(self, kind: str, namespace: str, name: str) -> Json:
        text = self.kubectl.run("get", kind, name, f"--namespace={namespace}", "-o=yaml")
        found: Json = yaml.safe_load(text)
        return found

    def survey(self, namespace: str) -> Survey:
        """Count the Pods of the ServiceAccount `reader`, three a page."""

        async def run() -> Survey:
            async with self._client() as client:
                return await survey(client, self._sources(namespace), Placement(), page_size=3)

        return asyncio.run(run())

    def missed(self, namespace: str) -> Sequence[str]:
        return self.survey(namespace).summary().missed

    def look(
        self,
        namespace: str,
        *,
        now: dt.datetime | None = None,
        injecting_since: str = "2026-01-01",
    ) -> Remedied:
        """Do what the operator does for a binding that asks for restarts."""
        raw = builders.binding(namespace=namespace, remediation="Restart")
        since = dt.datetime.fromisoformat(injecting_since)
        since = since if since.tzinfo else since.replace(tzinfo=dt.UTC)
        time = now or dt.datetime.now(dt.UTC)

        async def run() -> Remedied:
            async with self._client() as client, hands(client, lambda: time) as acting:
                seen = await survey(client, self._sources(namespace), Placement(), page_size=3)
                binding = parse_binding(raw, ours=False)
                return await remediate(acting, Restarts(REMEDIATION), binding, seen, since)

        return asyncio.run(run())

    def injected(self, namespace: str) -> Json:
        """Return the template of Pods as the webhook would have them."""
        pod = builders.inject(template(), self._sources(namespace)).pod
        return {"metadata": pod["metadata"], "spec": pod["spec"]}

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[KubernetesClient]:
        configuration = Configuration(host=self.plane.url)
        configuration.ssl_ca_cert = str(self.plane.ca_file)
        configuration.api_key["BearerToken"] = f"Bearer {self.token}"
        async with ApiClient(configuration) as api:
            yield KubernetesClient(api)

    def _sources(self, namespace: str) -> Sources:
        return Sources(
            namespace=namespace,
            service_account="reader",
            annotations=builders.words(inject="true"),
            binding=None,
            federation=builders.parsed_federation(),
            discovered_issuer=parse_issuer(self.plane.issuer),
        )


def template(**spec: Any) -> Json:  # noqa: ANN401  # JSON
    """Return a template of Pods of the ServiceAccount `reader`."""
    container = {"name": "app", "image": "example.com/app:1"}
    return {
        "metadata": {"labels": {"app": "trainer"}},
        "spec": {"serviceAccountName": "reader", "containers": [container], **spec},
    }


def workload(kind: str, namespace: str, **spec: Any) -> Json:  # noqa: ANN401  # JSON
    """Return a workload `trainer` of such Pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "trainer", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "trainer"}},
            "template": template(),
            **spec,
        },
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a control plane with the product's rights, and no operator."""
    directory = tmp_path_factory.mktemp("pods")
    with ControlPlane.start(directory / "plane") as plane:
        kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        Product(directory / "operator", kubectl, "127.0.0.1", 0).install()
        token = kubectl.run("create", "token", NAMESPACE, f"--namespace={NAMESPACE}")
        yield World(plane, kubectl, token.strip())


@pytest.fixture
def namespace(world: World) -> str:
    """Return a namespace of the test's own, with the ServiceAccount `reader`."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    world.kubectl.run("create", "namespace", name)
    world.kubectl.run("create", "serviceaccount", "reader", f"--namespace={name}")
    # The controller manager makes it, and Pods are refused until it has.
    assert eventually(lambda: _has_default_account(world, name), DEADLINE_SECONDS)
    return name


def _has_default_account(world: World, namespace: str) -> bool:
    found = world.kubectl.run("get", "serviceaccounts", f"-n={namespace}", "-o=name")
    return "serviceaccount/default" in found
