"""The process' life: what runs in the background ends with it, and it with what dies there."""

import asyncio
import base64
import copy
import datetime as dt
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import kopf
import pytest
import structlog
from aiohttp import web
from kubernetes.aio.config import kube_config

import builders
from caios_federation import runtime as runtime_module
from caios_federation.clients import errors
from caios_federation.runtime import Runtime, kopf_settings, open_runtime, runtime_of
from caios_federation.settings import (
    CacheSettings,
    CertificateProvider,
    CertificateSettings,
    ObservabilitySettings,
    ReconcileSettings,
    Role,
    Settings,
)
from component.clients.api_server import ScriptedApi, Seen, failure, reply, scripted
from component.reconcile.world import write_kubeconfig
from issuing import issue_bundle, secret


class Cluster:
    """Lists what it has, takes every write, and can be told to fail."""

    def __init__(self) -> None:
        self.items: dict[str, list[builders.Json]] = {}
        self.failures: dict[str, int] = {}
        self.secret: builders.Json | None = None
        """The Secret with the serving certificate."""

    async def __call__(self, request: Seen) -> web.StreamResponse:
        kind = request.path.rpartition("/")[2]
        if kind in self.failures:
            return failure(self.failures[kind], "as told")
        if request.method != "GET":
            return reply(**request.json)
        if kind == "openid-configuration":
            return reply(issuer=builders.ISSUER)
        if self.secret and kind == self.secret["metadata"]["name"]:
            return reply(**self.secret)
        if re.search("/(leases|secrets|[a-z]+configurations)/", request.path):
            return failure(404)
        return reply(metadata={}, items=self.items.get(kind, []))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        role=Role.CONTROLLER,
        certificates=CertificateSettings(directory=tmp_path / "tls"),
        observability=ObservabilitySettings(host="127.0.0.1", port=0),
        caches=CacheSettings(audit_period_seconds=0.02),
        reconcile=ReconcileSettings(first_backoff_seconds=0.02),
    )


@pytest.fixture
async def api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[tuple[Cluster, ScriptedApi]]:
    cluster = Cluster()
    async with scripted(cluster) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.url)
        # The official client reads KUBECONFIG when it is imported.
        monkeypatch.setattr(
            kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig")
        )
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setattr(runtime_module, "_CRD_POLL_SECONDS", 0.01)  # a constant of seconds
        with structlog.testing.capture_logs():
            yield cluster, server


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # requests give no event
            await asyncio.sleep(0.005)


async def for_ever() -> None:
    """Stand for Kopf, which ends only when it is cancelled."""
    await asyncio.Event().wait()


async def test_a_runtime_fills_its_caches_and_acts(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    cluster.items["serviceaccounts"] = [builders.service_account(inject="true")]
    cluster.items["storagefederations"] = [builders.federation()]
    async with open_runtime(settings) as runtime:
        await until(lambda: any(seen.method == "POST" for seen in server.seen))
        assert runtime.caches.synced.is_set()
        assert runtime.server is None
        await until(lambda: any(seen.path.endswith("/secrets") for seen in server.seen))
    assert not settings.certificates.directory.exists()


async def test_nothing_is_left_behind_when_it_ends(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    _, server = api
    before = asyncio.all_tasks()
    async with open_runtime(settings) as runtime:
        await until(runtime.caches.synced.is_set)
        assert asyncio.all_tasks() > before
    assert {task for task in asyncio.all_tasks() - before if not _serves(task)} == set()
    assert server.seen


def _serves(task: asyncio.Task[object]) -> bool:
    """Tell whether a task is the scripted server's, for a connection that is being closed."""
    return "RequestHandler.start" in str(task.get_coro())


async def test_the_webhook_role_reads_alone(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    cluster.items["serviceaccounts"] = [builders.service_account(inject="true")]
    webhook = settings.model_copy(update={"role": Role.WEBHOOK})
    async with open_runtime(webhook) as runtime:
        await until(runtime.caches.synced.is_set)
        await until(lambda: len(server.seen) > 20)
        assert runtime.controller is None
        assert runtime.server is not None
    assert {seen.method for seen in server.seen} == {"GET"}
    assert not settings.certificates.directory.exists()


async def test_a_certificate_of_somebody_else_is_left_alone(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    external = CertificateSettings(
        provider=CertificateProvider.EXTERNAL, directory=settings.certificates.directory
    )
    async with open_runtime(settings.model_copy(update={"certificates": external})) as runtime:
        await until(runtime.caches.synced.is_set)
    assert api
    assert not settings.certificates.directory.exists()


async def test_a_ca_that_somebody_rotates_is_published_on_the_next_check(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    external = CertificateSettings(provider=CertificateProvider.EXTERNAL, check_seconds=0.02)
    bundles = [issue_bundle(["hook"], dt.datetime.now(dt.UTC)) for _ in range(2)]

    def published(ca: bytes) -> bool:
        bundle = base64.b64encode(ca)
        return any(seen.method == "PATCH" and bundle in seen.body for seen in server.seen)

    cluster.secret = secret(bundles[0].files, ours=False)
    cluster.secret["metadata"]["resourceVersion"] = "1"
    async with open_runtime(settings.model_copy(update={"certificates": external})):
        await until(lambda: published(bundles[0].ca))
        cluster.secret = secret(bundles[1].files, ours=False)
        cluster.secret["metadata"]["resourceVersion"] = "2"
        await until(lambda: published(bundles[1].ca))


async def test_a_background_task_that_dies_ends_the_process_visibly(
    settings: Settings, api: tuple[Cluster, ScriptedApi], tmp_path: Path
) -> None:
    """The part of it that a process beside the cluster has: it writes the Secret's files."""
    api[0].secret = secret(issue_bundle(["hook"], dt.datetime.now(dt.UTC)).files)
    settings = settings.model_copy(update={"role": Role.ALL})
    (tmp_path / "tls").write_text("a file where the directory should be")
    refused = pytest.RaisesExc(errors.Rejected, match="CAIOS_CERTIFICATES__DIRECTORY")
    with pytest.RaisesGroup(pytest.RaisesGroup(refused)):
        async with asyncio.timeout(20), open_runtime(settings):
            await for_ever()
    assert api


async def test_a_body_that_fails_ends_the_background(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    before = asyncio.all_tasks()
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="Kopf fell over")):
        async with open_runtime(settings) as runtime:
            await until(runtime.caches.synced.is_set)
            raise RuntimeError("Kopf fell over")
    assert api
    assert {task for task in asyncio.all_tasks() - before if not _serves(task)} == set()


async def test_a_cancellation_ends_everything(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    opened = asyncio.Event()

    async def live() -> None:
        async with open_runtime(settings):
            opened.set()
            await for_ever()

    before = asyncio.all_tasks()
    task = asyncio.create_task(live())
    async with asyncio.timeout(20):
        await opened.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert api
    assert {task for task in asyncio.all_tasks() - before if not _serves(task)} == set()


async def test_stopping_ends_the_background_while_the_body_goes_on(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    """Kopf waits for what was started after it; its cleanup handler sets `stopping`."""
    _, server = api
    async with open_runtime(settings) as runtime:
        await until(runtime.caches.synced.is_set)
        busy = asyncio.all_tasks()
        await runtime.stop()
        assert len(asyncio.all_tasks()) < len(busy) - 2
        asked = len(server.seen)
        await asyncio.sleep(0.1)
        assert len(server.seen) == asked


async def test_trouble_with_the_api_server_never_ends_the_process(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    async with open_runtime(settings) as runtime:
        await until(runtime.caches.synced.is_set)
        for status in (401, 403, 410, 500, 503):
            cluster.failures = dict.fromkeys(
                ["serviceaccounts", "openid-configuration", "caios-federation"], status
            )
            server.seen.clear()
            await until(lambda: len(server.seen) > 8)
        cluster.failures = {}
        cluster.items["serviceaccounts"] = [builders.service_account(inject="true")]
        await until(lambda: bool(runtime.caches.accounts.objects))


async def test_the_crds_are_waited_for(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, server = api
    cluster.failures = {"storagefederations": 404}

    async def live() -> None:
        async with open_runtime(settings) as runtime:
            await until(runtime.caches.synced.is_set)

    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(live())
        await until(lambda: len(server.seen) > 6)
        cluster.failures = {"federatedstoragebindings": 503}
        server.seen.clear()
        await until(lambda: len(server.seen) > 6)
        cluster.failures = {}
        async with asyncio.timeout(20):
            await task
    waiting = [line for line in lines if line["event"].startswith("waiting for the CRDs")]
    assert [line["missing"] for line in waiting] == [["storagefederations"]]


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_start_without_an_answer_or_a_right_is_waited_for(
    settings: Settings, api: tuple[Cluster, ScriptedApi], status: int
) -> None:
    cluster, server = api
    cluster.failures = dict.fromkeys(["storagefederations", "leases"], status)
    opened = asyncio.Event()

    async def live() -> None:
        async with open_runtime(settings) as runtime:
            opened.set()
            await until(lambda: runtime.controller is not None)

    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(live())
        await until(lambda: len(server.seen) > 6)
        assert not opened.is_set()
        cluster.failures = {}
        async with asyncio.timeout(20):
            await task
    told = [line["err"] for line in lines if line["event"] == "waiting for the API server"]
    assert len(told) == 1
    assert str(status) in told[0]
    assert "storagefederations" in told[0]


async def test_an_issuer_that_is_not_told_at_the_start_is_asked_for_before_the_next_audit(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    cluster, _ = api
    cluster.failures = {"openid-configuration": 503}
    # Nobody else has it audited; by itself, the second audit comes after 13 s.
    webhook = settings.model_copy(update={"role": Role.WEBHOOK, "caches": CacheSettings()})
    async with open_runtime(webhook) as runtime:
        await until(runtime.caches.synced.is_set)
        assert runtime.caches.issuer is None
        cluster.failures = {}
        async with asyncio.timeout(10):
            await until(lambda: runtime.caches.issuer == builders.ISSUER)


async def test_a_change_before_everything_is_known_is_looked_at_later(
    settings: Settings, api: tuple[Cluster, ScriptedApi]
) -> None:
    """What is not in the caches yet would look as if it did not exist."""
    cluster, _ = api
    cluster.failures = {"serviceaccounts": 503}
    async with open_runtime(settings) as runtime:
        runtime.observe(runtime.caches.bindings, "ADDED", builders.binding())
        assert runtime.controller is None
        assert "serviceaccounts: 503" in (await told(runtime, "503"))
        cluster.failures = {}
        cluster.items["serviceaccounts"] = [builders.service_account(inject="true")]
        await until(lambda: runtime.controller is not None)
        assert runtime.ready() == ""
        assert runtime.controller is not None
        queue = runtime.controller.queue
        # One that no list has told of: what is known already is no change.
        late = builders.service_account("late", inject="true")
        runtime.observe(runtime.caches.accounts, "ADDED", late)
        assert "late" in {key.name for key in queue._queued}


async def told(runtime: Runtime, part: str) -> str:
    """Return why a runtime is not ready, once that says something of `part`."""
    await until(lambda: part in runtime.ready())
    return runtime.ready()


def test_a_memo_that_is_no_runtime_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="a dict, not the Runtime"):
        runtime_of({})


def test_kopf_gets_the_runtime_itself_when_it_copies_its_memo() -> None:
    nothing = object.__new__(Runtime)
    assert copy.copy(nothing) is nothing


def test_kopf_keeps_no_copy_of_what_objects_were_like(settings: Settings) -> None:
    storage = kopf_settings(settings, None).persistence.diffbase_storage
    body = kopf.Body(builders.binding())  # type: ignore[arg-type]  # a mapping is enough
    patch = kopf.Patch()
    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
    storage.store(body=body, patch=patch, essence={})
    assert not patch
