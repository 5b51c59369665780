"""The whole process in this one: Kopf's dispatch and watches, against a mocked API server."""

import asyncio
import base64
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonpatch
import orjson
import pytest
import structlog
from aiohttp import ClientSession, TCPConnector
from kmock import KubernetesEmulator, ResourceInfo
from kmock._internal import parsing
from kubernetes.aio.config import kube_config

import builders
from caios_federation.admission.dispatch import HANDLER_ID
from caios_federation.handlers import registry_for
from caios_federation.runtime import operate
from caios_federation.settings import (
    AdmissionSettings,
    CertificateSettings,
    ObservabilitySettings,
    Role,
    Settings,
    WebhookSettings,
)
from caios_testbed.cluster.ports import free_ports
from component.admission.serving import review, until
from component.reconcile.world import write_kubeconfig

GROUP = "caios.coreweave.com/v1alpha1"
ACCOUNTS = "v1/serviceaccounts"
FEDERATIONS = f"{GROUP}/storagefederations"
CONFIGURATIONS = "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port = free_ports(1)[0]
    return Settings(
        role=Role.ALL,
        admission=AdmissionSettings(
            host="127.0.0.1", port=port, lame_duck_seconds=0, tls_poll_seconds=0.05
        ),
        webhook=WebhookSettings(url=f"https://127.0.0.1:{port}"),
        certificates=CertificateSettings(directory=tmp_path / "tls"),
        observability=ObservabilitySettings(host="127.0.0.1", port=0),
    )


@pytest.fixture
def cluster(
    kmock: KubernetesEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> KubernetesEmulator:
    for resource, kind, namespaced in (
        (ACCOUNTS, "ServiceAccount", True),
        ("v1/namespaces", "Namespace", False),
        ("v1/pods", "Pod", True),
        ("v1/events", "Event", True),
        (f"{GROUP}/federatedstoragebindings", "FederatedStorageBinding", True),
        (FEDERATIONS, "StorageFederation", False),
        (CONFIGURATIONS, "MutatingWebhookConfiguration", False),
        ("v1/secrets", "Secret", True),
        ("coordination.k8s.io/v1/leases", "Lease", True),
    ):
        kmock.resources[resource] = ResourceInfo(
            kind=kind,
            namespaced=namespaced,
            verbs={"get", "list", "watch", "create", "patch", "update", "delete"},
        )
    monkeypatch.setattr(parsing, "parse_path", parse_path)
    kmock.objects[FEDERATIONS, None, "default"] = builders.federation()
    # kmock knows no apply that creates.
    kmock.objects[CONFIGURATIONS, None, "caios-federation"] = {
        "metadata": {"name": "caios-federation"}
    }
    _ = kmock["get /.well-known/openid-configuration"] << {"issuer": builders.ISSUER}
    write_kubeconfig(tmp_path / "kubeconfig", str(kmock.url))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    # The official client reads KUBECONFIG when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return kmock


def parse_path(
    path: str, parse: Callable[[str], parsing.ParsedPath] = parsing.parse_path
) -> object:
    """Read a path as kmock does, but for the one that kmock 0.8 fails on: it expects more of it."""
    if path.rstrip("/") == "/api/v1/namespaces":
        return parsing.ParsedPath("", "v1", "namespaces")
    return parse(path)


@asynccontextmanager
async def operating(settings: Settings) -> AsyncIterator[ClientSession]:
    """Run the operator; yield a client that trusts its CA, once the server answers."""
    with structlog.testing.capture_logs():
        task = asyncio.create_task(operate(settings, registry_for(settings.role)))
        try:
            ca = settings.certificates.directory / "ca.crt"

            async def has_ca() -> bool:
                assert not task.done(), task.exception()
                return ca.exists() and (settings.certificates.directory / "tls.key").exists()

            await until(has_ca)
            context = ssl.create_default_context(cafile=str(ca))
            async with ClientSession(connector=TCPConnector(ssl=context)) as session:
                yield session
        finally:
            task.cancel()
            await asyncio.wait([task])


async def admit(session: ClientSession, settings: Settings, pod: builders.Json) -> Any:  # noqa: ANN401  # any JSON
    """Return the Pod as it is admitted."""
    url = f"https://127.0.0.1:{settings.admission.port}/mutate-pods"
    async with session.post(url, json=review(object=pod)) as answer:
        assert answer.status == 200, await answer.text()
        response = orjson.loads(await answer.read())["response"]
    assert response["allowed"] is True
    if "patch" not in response:
        return pod
    return jsonpatch.apply_patch(pod, orjson.loads(base64.b64decode(response["patch"])))


def federated(pod: builders.Json) -> bool:
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels.get("caios.coreweave.com/federated") == "true"


async def until_serving(session: ClientSession, settings: Settings) -> None:
    async def serves() -> bool:
        try:
            url = f"https://127.0.0.1:{settings.admission.port}/readyz"
            async with session.get(url) as answer:
                return answer.status == 200
        except OSError:
            return False

    await until(serves)


async def test_a_pod_is_injected_through_kopf(
    cluster: KubernetesEmulator, settings: Settings
) -> None:
    cluster.objects[ACCOUNTS, "team-a", "reader"] = builders.service_account(inject="true")
    async with operating(settings) as session:
        await until_serving(session, settings)
        assert federated(await admit(session, settings, builders.pod()))


async def test_a_pod_of_a_service_account_that_no_watch_has_shown_is_injected(
    cluster: KubernetesEmulator, settings: Settings
) -> None:
    async with operating(settings) as session:
        await until_serving(session, settings)
        # Put there behind the back of the watch.
        cluster.objects[ACCOUNTS, "team-a", "late"] = builders.service_account(
            "late", inject="true"
        )
        pod = builders.pod(serviceAccountName="late")
        assert federated(await admit(session, settings, pod))


async def test_a_handler_that_fails_in_kopf_is_500(
    cluster: KubernetesEmulator, settings: Settings
) -> None:
    _ = cluster["get /api/v1/namespaces/team-a/serviceaccounts/broken"] << 503
    async with operating(settings) as session:
        await until_serving(session, settings)
        url = f"https://127.0.0.1:{settings.admission.port}/mutate-pods"
        pod = builders.pod(serviceAccountName="broken")
        async with session.post(url, json=review(object=pod)) as answer:
            assert answer.status == 500
            assert "allowed" not in await answer.text()


async def test_kopf_writes_to_no_object(cluster: KubernetesEmulator, settings: Settings) -> None:
    """The binding that is written comes from the controller, as do the statuses."""
    cluster.objects[ACCOUNTS, "team-a", "reader"] = builders.service_account(inject="true")
    async with operating(settings) as session:
        await until_serving(session, settings)
        await admit(session, settings, builders.pod())

        async def written() -> bool:
            return any(request.method == "POST" for request in cluster)

        await until(written)
    writes = [request for request in cluster if request.method in {"POST", "PATCH", "PUT"}]
    assert {str(request.params.get("fieldManager")) for request in writes} == {"caios-federation"}
    assert not any("serviceaccounts" in str(request.url) for request in writes)


async def test_a_background_that_dies_ends_the_whole_process(
    cluster: KubernetesEmulator, settings: Settings
) -> None:
    settings.certificates.directory.write_text("a file where the directory should be")
    with structlog.testing.capture_logs():
        task = asyncio.create_task(operate(settings, registry_for(settings.role)))
        async with asyncio.timeout(20):
            await asyncio.wait([task])
    assert cluster
    assert isinstance(task.exception(), ExceptionGroup)
    assert "tls" in "".join(traceback.format_exception(task.exception()))


@pytest.mark.parametrize("role", Role)
def test_the_handler_that_the_server_asks_for_is_there_unless_it_does_not_serve(
    role: Role,
) -> None:
    handlers = registry_for(role)._webhooks.get_all_handlers()
    expected = [] if role is Role.CONTROLLER else [HANDLER_ID]
    assert [str(handler.id) for handler in handlers] == expected


@pytest.mark.parametrize("role", Role)
def test_who_acts_watches_the_webhook_configuration(role: Role) -> None:
    watched = {
        handler.selector.any_name or handler.selector.plural
        for handler in registry_for(role)._watching.get_all_handlers()
        if handler.selector
    }
    acts = role is not Role.WEBHOOK
    assert ("mutatingwebhookconfigurations" in watched) is acts


async def test_a_webhook_configuration_that_is_deleted_is_applied_again_at_once(
    cluster: KubernetesEmulator, settings: Settings
) -> None:
    """The next resync is ten minutes away."""
    # Kopf watches nothing before it has found the kind of namespaces.
    cluster.resources["v1/namespaces"] = ResourceInfo(
        kind="Namespace", namespaced=False, verbs={"list", "watch"}
    )
    name = "caios-federation"
    cluster.objects[CONFIGURATIONS, None, name] = {"metadata": {"name": name}}

    def asked(method: str, query: str = "") -> int:
        return sum(
            request.method == method
            and "mutatingwebhookconfigurations" in str(request.url)
            and query in str(request.url)
            for request in cluster
        )

    async with operating(settings) as session:
        await until_serving(session, settings)

        async def watched_and_applied() -> bool:
            one = f"watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{name}"
            return asked("GET", one) > 0 and asked("PATCH") > 0

        await until(watched_and_applied)
        # Long enough for a write that failed to be tried again.
        await asyncio.sleep(1)
        before = asked("PATCH")
        async with ClientSession() as somebody:
            await somebody.delete(f"{cluster.url}/apis/{CONFIGURATIONS}/{name}")

        async def again() -> bool:
            return asked("PATCH") > before

        await until(again)
