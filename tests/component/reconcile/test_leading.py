"""A process and its Lease: it acts while it holds it, begins anew, and ends in order."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from kubernetes.aio.config import kube_config

import builders
from caios_federation.observe.logging import Seldom
from caios_federation.runtime import open_runtime
from caios_federation.settings import (
    CacheSettings,
    CertificateSettings,
    LeaseSettings,
    ObservabilitySettings,
    ReconcileSettings,
    Role,
    Settings,
)
from component.clients.api_server import ScriptedApi, Seen, failure, reply, scripted
from component.reconcile.test_runtime import until
from component.reconcile.world import write_kubeconfig

LEASES = "/apis/coordination.k8s.io/v1/namespaces/caios-federation/leases"


class Cluster:
    """Has an annotated ServiceAccount, and a Lease; takes every other write."""

    def __init__(self) -> None:
        self.lease: builders.Json | None = None
        self.status = 200
        """Of answers about the Lease; 0: there is none."""
        self.slow = asyncio.Event()
        """Other writes are answered once it is set."""
        self.slow.set()

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if request.path.startswith(LEASES):
            return await self._lease(request)
        if request.method != "GET":
            await self.slow.wait()
            return reply(**request.json)
        if request.path.endswith("/openid-configuration"):
            return reply(issuer=builders.ISSUER)
        if re.search("/(secrets|[a-z]+configurations)/", request.path):
            return failure(404)
        accounts = [builders.service_account(inject="true")]
        items = {"serviceaccounts": accounts, "storagefederations": [builders.federation()]}
        return reply(metadata={}, items=items.get(request.path.rpartition("/")[2], []))

    async def _lease(self, request: Seen) -> web.StreamResponse:
        if not self.status:
            await asyncio.Event().wait()
        if self.status != 200:
            return failure(self.status)
        if request.method != "GET":
            self.lease = request.json
        return failure(404) if self.lease is None else reply(**self.lease)

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        role=Role.CONTROLLER,
        certificates=CertificateSettings(directory=tmp_path / "tls"),
        observability=ObservabilitySettings(host="127.0.0.1", port=0),
        caches=CacheSettings(audit_period_seconds=60),
        reconcile=ReconcileSettings(resync_seconds=60, first_backoff_seconds=60),
        lease=LeaseSettings(duration_seconds=1, renew_deadline_seconds=0.6, retry_seconds=0.05),
    )


@pytest.fixture
async def api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[tuple[Cluster, ScriptedApi]]:
    cluster = Cluster()
    async with scripted(cluster) as server:
        path = tmp_path / "kubeconfig"
        write_kubeconfig(path, server.url)
        # The official client reads KUBECONFIG when it is imported.
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield cluster, server


def writes(server: ScriptedApi) -> list[str]:
    """Return what was written, but for the Lease."""
    return [
        f"{seen.method} {seen.path}"
        for seen in server.seen
        if seen.method != "GET" and not seen.path.startswith(LEASES)
    ]


def lists(server: ScriptedApi) -> int:
    """Return how often the bindings were listed whole."""
    return sum(
        seen.path.endswith("/federatedstoragebindings") and seen.query.get("limit") != "1"
        for seen in server.seen
    )


async def test_it_stops_with_the_lease_and_begins_anew_with_it(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    with structlog.testing.capture_logs() as lines:
        async with open_runtime(settings) as runtime:
            await until(lambda: len(writes(server)) > 1)
            first, identity = runtime.controller, cluster.holder
            assert first is not None
            assert runtime.leader is not None
            assert runtime.leader.election.leading

            cluster.status = 503
            await until(lambda: runtime.controller is None)
            assert not runtime.leader.election.leading
            assert runtime.ready() == ""
            written, listed = len(writes(server)), lists(server)
            binding = builders.binding("b")
            runtime.observe(runtime.caches.bindings, "ADDED", binding)
            runtime.heal_webhook()
            await asyncio.sleep(0.2)
            assert len(writes(server)) == written

            cluster.status = 200
            await until(lambda: len(writes(server)) > written)
            assert runtime.controller not in (None, first)
            assert lists(server) > listed
            assert cluster.holder == identity
    told = [line["event"] for line in lines if line["event"].endswith("leading")]
    assert told == ["leading", "no longer leading"] * 2
    assert {line["identity"] for line in lines if line["event"].endswith("leading")} == {identity}
    trouble = [line["err"] for line in lines if line["event"] == "leading is in trouble"]
    assert "503" in trouble[0]
    assert len(trouble) < 5


async def test_it_ends_what_is_under_way_and_then_gives_the_lease_back(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    async with open_runtime(settings) as runtime:
        await until(lambda: runtime.controller is not None)
        cluster.slow.clear()
        runtime.heal_webhook()
        before = len(writes(server))
        await until(lambda: len(writes(server)) > before or before > 0)
        stopping = asyncio.create_task(runtime.stop())
        await asyncio.sleep(0.2)
        assert cluster.holder != ""
        assert not stopping.done()
        cluster.slow.set()
        async with asyncio.timeout(20):
            await stopping
        assert cluster.holder == ""


async def test_it_ends_within_seconds_when_nobody_answers(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    lasting = LeaseSettings(duration_seconds=60, renew_deadline_seconds=50, retry_seconds=2)
    async with open_runtime(settings.model_copy(update={"lease": lasting})) as runtime:
        await until(lambda: len(writes(server)) > 1)
        cluster.status = 0
        cluster.slow.clear()
        runtime.heal_webhook()
        async with asyncio.timeout(10):
            await runtime.stop()
    cluster.slow.set()


async def test_it_does_not_compete_before_its_caches_are_filled(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    """It would keep others from acting, and could not act itself."""
    cluster, server = api
    slow = settings.model_copy(update={"lease": LeaseSettings(retry_seconds=0.05)})
    async with open_runtime(slow) as runtime:
        await until(lambda: bool(cluster.holder))
        await until(runtime.caches.synced.is_set)
        asked = [seen.path.startswith(LEASES) for seen in server.seen]
        listed = [seen.path.endswith("/serviceaccounts") for seen in server.seen]
        assert listed.index(True) < asked.index(True)


def test_trouble_is_told_when_it_is_new_and_once_a_minute() -> None:
    now = 0.0
    seldom = Seldom(lambda: now)
    assert seldom.due("a")
    assert not seldom.due("a")
    assert seldom.due("b")
    now = 59
    assert not seldom.due("b")
    now = 61
    assert seldom.due("b")
    seldom.over()
    assert seldom.due("b")
