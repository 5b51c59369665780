"""The endpoints of a whole process: from its beginning to its end, whatever it lacks."""

import asyncio
import contextlib
import datetime as dt
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientConnectionError, ClientSession
from kubernetes.aio.config import kube_config

import builders
from caios_federation import runtime as runtime_module
from caios_federation.runtime import Runtime, open_runtime
from caios_federation.settings import (
    AdmissionSettings,
    CacheSettings,
    CertificateSettings,
    ObservabilitySettings,
    Role,
    Settings,
)
from component.clients.api_server import scripted
from component.observability.scraping import Scrape
from component.reconcile.test_runtime import Cluster, for_ever, until
from component.reconcile.world import write_kubeconfig

KINDS = {"ServiceAccount", "FederatedStorageBinding", "StorageFederation"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Process:
    """A process under observation: its API server, and what somebody sees from outside."""

    def __init__(self, role: Role, directory: Path) -> None:
        self.cluster = Cluster()
        self.lines: list[structlog.typing.EventDict] = []
        self.runtime: Runtime | None = None
        self.settings = Settings(
            role=role,
            admission=AdmissionSettings(host="127.0.0.1", tls_poll_seconds=0.02),
            certificates=CertificateSettings(directory=directory / "tls"),
            observability=ObservabilitySettings(host="127.0.0.1", port=0),
            caches=CacheSettings(audit_period_seconds=0.02),
        )

    @property
    def port(self) -> int:
        """The port, as the log tells it."""
        said = [line["port"] for line in self.lines if line["event"] == "observability serving"]
        return int(said[0]) if said else 0

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Return status, type and text of an answer."""
        async with (
            ClientSession() as session,
            session.get(
                f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept}
            ) as answer,
        ):
            return answer.status, answer.content_type, await answer.text()

    async def scrape(self) -> Scrape:
        _, _, text = await self.get("/metrics")
        return Scrape.of(text)

    async def scrape_until(self, holds: Callable[[Scrape], object]) -> Scrape:
        """Scrape until something is to be seen."""
        async with asyncio.timeout(20):
            while not holds(seen := await self.scrape()):  # noqa: ASYNC110  # it gives no event
                await asyncio.sleep(0.01)
        return seen

    async def ready_until(self, holds: Callable[[str], bool]) -> int:
        """Ask until readiness is told like this; return the status."""
        async with asyncio.timeout(20):
            while not holds((answer := await self.get("/readyz"))[2]):  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        return answer[0]


@contextlib.asynccontextmanager
async def observed(
    role: Role, directory: Path, monkeypatch: pytest.MonkeyPatch, **failures: int
) -> AsyncIterator[Process]:
    """Start a process; some kinds may fail in its cluster."""
    here = Process(role, directory)
    here.cluster.failures = failures
    here.cluster.items["serviceaccounts"] = [builders.service_account(inject="true")]
    here.cluster.items["federatedstoragebindings"] = [builders.binding()]
    here.cluster.items["storagefederations"] = [builders.federation()]

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("SOURCE_COMMIT", "abc123")
    monkeypatch.setattr(runtime_module, "_CRD_POLL_SECONDS", 0.01)  # a constant of seconds
    kubeconfig = directory / "kubeconfig"
    # The official client reads KUBECONFIG when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    async with scripted(here.cluster) as server:
        write_kubeconfig(kubeconfig, server.url)

        async def live() -> None:
            async with open_runtime(here.settings) as runtime:
                here.runtime = runtime
                await for_ever()

        with structlog.testing.capture_logs() as here.lines:
            task = asyncio.create_task(live())
            await until(lambda: here.port > 0)
            try:
                yield here
            finally:
                task.cancel()
                await asyncio.wait([task])


async def test_probes_are_answered_while_the_crds_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"storagefederations": 404}
    async with observed(Role.CONTROLLER, tmp_path, monkeypatch, **missing) as here:
        assert (await here.get("/healthz"))[0] == 200
        assert await here.ready_until(lambda text: "storagefederations" in text) == 503
        here.cluster.failures = {}
        assert await here.ready_until(lambda text: text == "ok\n") == 200


async def test_a_webhook_without_a_certificate_is_alive_and_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(Role.WEBHOOK, tmp_path, monkeypatch) as here:
        await until(lambda: here.runtime is not None and here.runtime.caches.synced.is_set())
        status, _, text = await here.get("/readyz")
        assert (status, text.partition(":")[0]) == (503, "certificate not loaded")
        assert (await here.get("/healthz"))[0] == 200


async def test_nobody_answers_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(Role.CONTROLLER, tmp_path, monkeypatch) as here:
        assert (await here.get("/healthz"))[0] == 200
    with pytest.raises(ClientConnectionError):
        await here.get("/healthz")


async def test_metrics_come_in_the_form_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(Role.CONTROLLER, tmp_path, monkeypatch) as here:
        _, plain, text = await here.get("/metrics")
        _, kind, openmetrics = await here.get("/metrics", OPENMETRICS)
    assert (plain, kind) == ("text/plain", "application/openmetrics-text")
    assert openmetrics.endswith("# EOF\n")
    assert "# EOF" not in text


async def test_a_controller_shows_what_it_holds_and_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(Role.CONTROLLER, tmp_path, monkeypatch) as here:
        seen = await here.scrape_until(
            lambda seen: (
                seen("certificate_expiry_timestamp_seconds")
                and seen.counted("reconcile_total")
                and seen.counted("event_loop_lag_seconds_count")
                and seen.counted("cache_objects").keys() == KINDS
            )
        )
    now = dt.datetime.now(dt.UTC).timestamp()
    assert seen("leader") == 1
    for kind in KINDS | {"Namespace"}:
        synced = seen("cache_last_sync_timestamp_seconds", kind=kind)
        assert synced is not None
        assert now - 60 < synced <= now
    assert seen("queue_depth", kind="MutatingWebhookConfiguration") is not None
    assert seen("managed_policies") == 0
    expires = seen("certificate_expiry_timestamp_seconds")
    assert expires is not None
    assert now < expires <= now + 90 * 86400
    assert seen.counted("kubernetes_requests_total")["2xx serviceaccounts list"] > 0
    assert seen("admission_requests_total", outcome="failed") is None
    (build,) = (dict(labels) for name, labels in seen.samples if name.endswith("_build_info"))
    assert build["commit"] == "abc123"
    assert build["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert {name for name, _ in seen.samples if name.startswith("process_")} >= {
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    }


async def test_a_webhook_shows_nothing_of_what_only_a_controller_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observed(Role.WEBHOOK, tmp_path, monkeypatch) as here:
        seen = await here.scrape_until(lambda seen: seen.counted("cache_objects"))
    assert seen("admission_requests_total", outcome="failed") == 0
    assert seen("leader") is None
    assert seen("bindings", ready="true") is None
    assert seen.counted("reconcile_total") == {}
    assert seen("cache_objects", kind="Namespace") is None


async def test_no_label_holds_the_name_of_an_object_or_of_a_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"team-a", "reader", "default", "caios-federation", "caios-federation-webhook-tls"}
    names |= {"caios-federation-controller", "cw1234"}
    async with observed(Role.CONTROLLER, tmp_path, monkeypatch) as here:
        seen = await here.scrape_until(lambda seen: seen.counted("condition_transitions_total"))
    values = set(seen.label_values())
    assert {"FederatedStorageBinding", "Ready"} <= values
    assert {value for value in values if any(name in value for name in names)} == set()


async def test_a_port_in_use_ends_the_process_with_the_setting_to_change(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "caios_federation", "run", "--role=controller"),
            env={
                **os.environ,
                "CAIOS_OBSERVABILITY__HOST": "127.0.0.1",
                "CAIOS_OBSERVABILITY__PORT": str(port),
                "KUBECONFIG": str(tmp_path / "none"),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await process.communicate()
    assert process.returncode == 3
    (error,) = (line for line in stderr.decode().splitlines() if line.startswith("error: "))
    assert error.startswith("error: CAIOS_OBSERVABILITY__PORT: ")
    assert str(port) in error
    assert "0 for any that is free" in error
