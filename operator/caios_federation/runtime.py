"""The composition root: from settings to a running process.

`Runtime` owns what the process has once: the connection to the API server, the caches, the queue,
the admission server. It lives as long as its context; its tasks end with it, and a task that dies
ends the process, visibly.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kopf

from caios_federation.admission.certificate import ServingCertificate
from caios_federation.admission.decide import Decider
from caios_federation.admission.dispatch import current_exchange
from caios_federation.admission.server import AdmissionServer
from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json
from caios_federation.caches import Caches, Change, ObjectCache
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    BINDING,
    FEDERATION,
    WEBHOOK_CONFIGURATION,
    KubernetesClient,
    Login,
    connect,
)
from caios_federation.core.plan import Placement
from caios_federation.observe.endpoints import Endpoints
from caios_federation.observe.logging import Seldom, logger
from caios_federation.observe.loop_lag import measure_lag
from caios_federation.observe.metrics import Metrics
from caios_federation.readings import read_state
from caios_federation.settings import ObservabilitySettings, Role, Settings

if TYPE_CHECKING:  # imported by who leads alone: a process that injects starts faster without
    from caios_federation.reconcile.controller import Controller
    from caios_federation.reconcile.leader import Leader

_CRD_POLL_SECONDS = 2.0
log = logger("runtime")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What handlers reach: caches to feed, a queue to fill, decisions to ask for."""

    settings: Settings
    client: KubernetesClient
    caches: Caches
    decider: Decider
    server: AdmissionServer | None
    """None in the controller role."""
    leader: "Leader | None"
    """None in the webhook role."""
    stopping: asyncio.Event
    """Set when Kopf has stopped: what runs in the background ends then."""
    stopped: asyncio.Event
    """Set when it has ended, and the Lease was given back."""

    def __copy__(self) -> "Runtime":
        """Return itself: Kopf copies its memo for every object that it sees."""
        return self

    @property
    def controller(self) -> "Controller | None":
        """What acts; None while this process does not lead."""
        return None if self.leader is None else self.leader.controller

    async def login(self) -> Login:
        """Return credentials that the API server takes, however long that takes.

        Kopf gives up, and ends the process, when it is handed some that were refused before.
        """
        seldom, waits = Seldom(), iter(_Backoffs())
        while True:
            try:
                found = await self.client.login()
                if await self.client.authenticated():
                    return found
                problem = "401: the API server does not know who we are"
            except errors.Rejected as error:
                problem = str(error)
            if seldom.due(problem):
                log.warning("not logged in", err=problem)
            await asyncio.sleep(next(waits))

    async def stop(self) -> None:
        """End what runs beside Kopf: it cancels after five seconds whatever is left then."""
        self.stopping.set()
        await self.stopped.wait()

    def observe(self, cache: ObjectCache[Any], event: str | None, body: Json) -> None:
        """Take in a watch event, and have looked at what it bears on.

        One without a type is part of the list with which a watch begins, also when it begins anew
        because events were lost: an object that is gone by then has none.
        """
        if event is None:
            self.caches.doubt()
        self.changed(cache.observe(event, body))

    def changed(self, change: Change) -> None:
        """Have looked at what a change bears on, once everything is known."""
        if self.leader is not None and self.caches.synced.is_set():
            self.leader.changed(change)

    def ready(self) -> str:
        """Return what this process lacks to do its work; nothing when it is ready.

        A controller that does not act, because another one does, is ready too.
        """
        if not self.caches.synced.is_set():
            return f"caches not filled: {self.caches.problem}"
        return "" if self.server is None else self.server.unready()

    def heal_webhook(self) -> None:
        """Have the webhook configuration looked at, where this process acts."""
        if self.leader is not None:
            self.leader.heal_webhook()

    async def answer(self) -> None:
        """Decide about the Pod of the admission request under way."""
        exchange = current_exchange()
        request = exchange.request
        exchange.decision = await self.decider.decide(request.namespace, request.pod)


def runtime_of(memo: object) -> Runtime:
    """Return the runtime that Kopf was given as its memo."""
    if not isinstance(memo, Runtime):
        raise TypeError(f"Kopf's memo is a {type(memo).__name__}, not the Runtime")
    return memo


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Connect, fill the caches in the background, and act if the role says so."""
    commit = os.environ.get(words.SOURCE_COMMIT) or "unknown"
    metrics = Metrics(settings.role, commit=commit)
    caches = Caches(slim=settings.role is Role.WEBHOOK)
    async with (
        _observed(settings.observability, metrics) as endpoints,
        connect(answered=metrics.kubernetes_answered) as client,
        _leading(settings, caches, client, metrics) as leader,
        asyncio.TaskGroup() as tasks,
    ):
        decider = Decider(
            caches,
            client,
            Placement(**settings.pods.model_dump()),
            live_read_seconds=settings.admission.live_read_seconds,
        )
        runtime = Runtime(
            settings=settings,
            client=client,
            caches=caches,
            decider=decider,
            server=_admission_server(settings, caches, decider, metrics),
            leader=leader,
            stopping=asyncio.Event(),
            stopped=asyncio.Event(),
        )
        metrics.read(lambda: read_state(caches, runtime.server, runtime.leader))
        endpoints.unready = runtime.ready
        await _crds_served(client, caches)
        tasks.create_task(_background(runtime, metrics))
        try:
            yield runtime
        finally:
            runtime.stopping.set()


@asynccontextmanager
async def _observed(settings: ObservabilitySettings, metrics: Metrics) -> AsyncIterator[Endpoints]:
    """Show metrics and readiness while the context lasts. Raises Rejected for a port in use."""
    endpoints = Endpoints(metrics.registry)
    try:
        await endpoints.open(settings)
    except OSError as error:
        raise errors.Rejected(
            f"CAIOS_OBSERVABILITY__PORT: {error.strerror}; set another port, or 0 for any that is "
            "free"
        ) from error
    try:
        yield endpoints
    finally:
        await endpoints.close()


@asynccontextmanager
async def _leading(
    settings: Settings, caches: Caches, client: KubernetesClient, metrics: Metrics
) -> AsyncIterator["Leader | None"]:
    """Yield what leads, connected to CoreWeave; the webhook role has none, and asks nothing."""
    if settings.role is Role.WEBHOOK:
        yield None
        return
    from caios_federation.clients import coreweave  # noqa: PLC0415
    from caios_federation.reconcile.leader import Leader  # noqa: PLC0415

    async with coreweave.connect(settings.coreweave, metrics.coreweave_answered) as remote:
        yield Leader(settings, caches, client, remote, metrics)


async def _background(runtime: Runtime, metrics: Metrics) -> None:
    """Keep the caches true and, where the role says so, act: until the runtime is stopping."""
    settings, leader = runtime.settings, runtime.leader
    try:
        async with asyncio.TaskGroup() as tasks:
            caches = runtime.caches
            known = runtime.client, settings.caches, runtime.changed
            jobs = [tasks.create_task(caches.keep_true(*known))]
            jobs.append(tasks.create_task(caches.follow(caches.accounts, *known)))
            jobs.append(tasks.create_task(caches.insist_on_issuer(*known)))
            jobs.append(tasks.create_task(measure_lag(metrics.loop_lagged)))
            if settings.role is Role.ALL:
                from caios_federation.reconcile.mirror import mirror_secret  # noqa: PLC0415

                jobs.append(tasks.create_task(mirror_secret(runtime.client, settings)))
            if leader is not None:
                tasks.create_task(leader.run(runtime.stopping))  # ends in order, by itself
            await runtime.stopping.wait()
            for job in jobs:
                job.cancel()
    finally:
        runtime.stopped.set()


async def operate(settings: Settings, registry: kopf.OperatorRegistry) -> None:
    """Run until a signal ends the process."""
    log.info("starting", role=settings.role)
    task = asyncio.current_task()
    if task is not None:
        # Until Kopf takes the signal over. As a container's first process we would ignore it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with open_runtime(settings) as runtime:
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(settings, runtime.server),
            memo=runtime,
            clusterwide=True,
            standalone=True,
        )
    log.info("stopped")


def kopf_settings(settings: Settings, server: AdmissionServer | None) -> kopf.OperatorSettings:
    """Return Kopf's settings; each departure from its defaults has its reason."""
    kopfs = kopf.OperatorSettings()
    kopfs.admission.server = server
    kopfs.admission.managed = None  # it fits one replica only; we keep the configuration
    kopfs.peering.standalone = True  # a paused replica would answer from stale data
    kopfs.posting.enabled = False  # events are ours
    kopfs.scanning.disabled = True  # no watch of CRDs and namespaces: fewer rights
    kopfs.networking.error_backoffs = _Backoffs()  # the default ends the process after 54 s
    # The defaults wait for minutes, or for ever, on an API server that is gone without a word.
    kopfs.networking.request_timeout = 60
    kopfs.networking.connect_timeout = 5
    kopfs.watching.connect_timeout = 5
    # One object of that kind is ours, so that the right to watch that one is enough.
    kopfs.watching.field_selectors[
        WEBHOOK_CONFIGURATION.api_version, WEBHOOK_CONFIGURATION.plural
    ] = f"metadata.name={words.WEBHOOK_CONFIGURATION}"
    kopfs.watching.chunk_size = settings.caches.page_size  # half the memory at start
    kopfs.queueing.worker_limit = 50  # our handlers never wait: more would only cost memory
    kopfs.queueing.idle_timeout = 0.001  # a worker holds its slot that long
    kopfs.persistence.finalizer = words.KOPF_FINALIZER
    kopfs.persistence.diffbase_storage = _NoEssence()
    return kopfs


class _NoEssence(kopf.DiffBaseStorage):
    """Kopf's memory of what objects were like, left empty: nothing here is about differences.

    Kopf would copy each object with each event, a tenth of what a reconciliation costs.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401  # Kopf's keywords
        """Return nothing of an object."""
        return {}

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:  # noqa: ANN401  # Kopf's keywords
        """Return nothing, as for an object that was never handled."""
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401  # Kopf's keywords
        """Write nothing."""


class _Backoffs:
    """Waits without end: trouble with the API server never takes the process down.

    They stay short, because what happened meanwhile is not known until the watch is back. A class,
    because Kopf iterates it anew for every request.
    """

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, no secret
            delay = min(delay * 2, 5)


async def _crds_served(client: KubernetesClient, caches: Caches) -> None:
    """Wait until both CRDs are installed: Kopf would never see kinds that come later.

    Nothing ends the process meanwhile: what is missing may come, be it a right.
    """
    seldom = Seldom()
    while True:
        try:
            missing = [k.plural for k in (BINDING, FEDERATION) if not await client.served(k)]
        except errors.ClientError as error:
            caches.problem = str(error)
            if seldom.due(caches.problem):
                log.warning("waiting for the API server", err=caches.problem)
            with contextlib.suppress(errors.Rejected):
                await client.login()  # there may be other credentials by now
        else:
            if not missing:
                return
            caches.problem = f"CRDs are not installed: {', '.join(missing)}"
            if seldom.due(caches.problem):
                log.warning("waiting for the CRDs (kubectl apply -f crds/)", missing=missing)
        await asyncio.sleep(_CRD_POLL_SECONDS)


def _admission_server(
    settings: Settings, caches: Caches, decider: Decider, metrics: Metrics
) -> AdmissionServer | None:
    if settings.role is Role.CONTROLLER:
        return None
    certificate = ServingCertificate(settings.certificates.directory)
    return AdmissionServer(
        settings.admission, certificate, decider, caches.synced, metrics.admission
    )
