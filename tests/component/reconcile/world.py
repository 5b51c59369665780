"""A controller's hands in a small cluster: what it knows, and the API server that it writes to."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import yaml
from aiohttp import web

import builders
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.caches import Caches, Change, ObjectCache
from caios_federation.clients import coreweave
from caios_federation.observe.metrics import Metrics
from caios_federation.reconcile.acting import Acting
from caios_federation.reconcile.binding import reconcile_binding
from caios_federation.reconcile.federation import seen_of
from caios_federation.reconcile.looks import Look, Looks
from caios_federation.reconcile.organizations import Organizations
from caios_federation.reconcile.pods import Restarts
from caios_federation.reconcile.retained import Retained
from caios_federation.settings import CoreWeaveSettings, Settings
from component.clients.api_server import ScriptedApi, Seen, failure, reply, scripted
from listed import unlisted

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
SERVING = Finding(Status.TRUE, Reason.SERVING, "It is.")
IMPATIENT = CoreWeaveSettings(attempts=1, requests_per_second=10_000, timeout_seconds=5)
MANAGED = {"app.kubernetes.io/managed-by": "caios-federation"}


@dataclass(slots=True)
class Clock:
    """Stands still unless a test lets time pass."""

    now: dt.datetime = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@dataclass(slots=True)
class Api:
    """Takes every write, unless told to refuse it."""

    version: int = 100
    refusals: dict[str, int] = field(default_factory=dict)
    """The status that requests of a method and the end of their path get instead."""
    stored: dict[str, builders.Json] = field(default_factory=dict)
    """What a GET of a path finds."""
    pods: list[builders.Json] = field(default_factory=list)
    """What every LIST of Pods finds."""
    known: dict[tuple[str, str], builders.Json] = field(default_factory=dict)
    """Objects by kind and name, of which a status is applied."""

    async def __call__(self, request: Seen) -> web.StreamResponse:
        for what, status in self.refusals.items():
            method, _, end = what.partition(" ")
            if request.method == method and request.path.endswith(end):
                return failure(status, "refused")
        if request.method == "GET" and request.path.endswith("/pods"):
            return reply(items=self.pods)
        if request.method == "GET":
            found = self.stored.get(request.path)
            return reply(**found) if found else failure(404)
        if request.method == "DELETE":
            return reply(kind="Status", status="Success")
        self.version += 1
        body = self._merged(request.json)
        body["metadata"] |= {"resourceVersion": str(self.version)}
        body["metadata"].setdefault("uid", f"uid-{self.version}")
        return web.json_response(body, status=201 if request.method == "POST" else 200)

    def _merged(self, applied: builders.Json) -> builders.Json:
        whole = self.known.get((applied["kind"], applied["metadata"].get("name", "")), {})
        metadata = {**whole.get("metadata", {}), **applied["metadata"]}
        return {**whole, **applied, "metadata": metadata}


@dataclass(slots=True)
class World:
    """What a reconciliation is given, and what came of it."""

    caches: Caches
    acting: Acting
    restarts: Restarts
    api: Api
    server: ScriptedApi
    changes: list[Change]
    lines: list[structlog.typing.EventDict]
    clock: Clock

    def know(self, *bodies: builders.Json, event: str = "MODIFIED") -> None:
        by_kind: dict[str, ObjectCache[object]] = {
            "ServiceAccount": self.caches.accounts,  # type: ignore[dict-item]  # invariant
            "FederatedStorageBinding": self.caches.bindings,  # type: ignore[dict-item]
            "StorageFederation": self.caches.federations,  # type: ignore[dict-item]
        }
        for given in bodies:
            self.api.version += 1
            version = {"resourceVersion": str(self.api.version)}
            body = {**given, "metadata": {**given["metadata"], **version}}
            self.api.known[body["kind"], body["metadata"]["name"]] = body
            by_kind[body["kind"]].observe(event, body)
        for federation in self.caches.federations.objects.values():
            name, of = federation.meta.name, seen_of(federation, self.caches.issuer)
            self.acting.looks.took(name, of, Look(SERVING))

    def forget(self, *bodies: builders.Json) -> None:
        self.know(*bodies, event="DELETED")

    async def reconcile(self, name: str = "reader") -> float | None:
        """Reconcile a binding in team-a."""
        return await reconcile_binding(self.caches, self.acting, self.restarts, "team-a", name)

    @property
    def writes(self) -> list[str]:
        """Method and path of each write but those of events."""
        return [
            f"{request.method} {request.path}"
            for request in self.server.seen
            if request.method != "GET" and not request.path.endswith("/events")
        ]

    @property
    def events(self) -> list[str]:
        """Reasons of the events that were posted."""
        return [
            request.json["reason"]
            for request in self.server.seen
            if request.path.endswith("/events")
        ]


@contextlib.asynccontextmanager
async def world(*known: builders.Json, api: Api | None = None) -> AsyncIterator[World]:
    """Yield a world with a federation, an issuer and `known`; the API server is as `api` does.

    Whatever statuses are written there, the closed list of reasons has what they say.
    """
    api, caches, clock = api or Api(), Caches(), Clock()
    caches.issuer = builders.ISSUER
    changes: list[Change] = []
    settings, metrics = Settings(coreweave=IMPATIENT), Metrics()
    async with (
        scripted(api, answered=metrics.kubernetes_answered) as server,
        coreweave.connect(settings.coreweave, metrics.coreweave_answered) as remote,
    ):
        with structlog.testing.capture_logs() as lines:
            acting = Acting(
                client=server.client,
                clock=clock,
                wrote=changes.append,
                settings=settings,
                coreweave=remote,
                organizations=Organizations(
                    remote, server.client, settings.namespace, metrics.policy_written
                ),
                retained=Retained(server.client, settings.namespace),
                looks=Looks(settings.reconcile.probe_seconds),
                metrics=metrics,
            )
            restarts = Restarts(settings.remediation)
            here = World(caches, acting, restarts, api, server, changes, lines, clock)
            here.know(builders.federation(), *known)
            yield here
            for request in server.seen:
                if request.path.endswith("/status"):
                    assert unlisted(request.json["kind"], request.json["status"]) == []


def ours(name: str = "reader", **spec: object) -> builders.Json:
    """Return a binding that the controller made."""
    body = builders.binding(name, "team-a", **spec)
    body["metadata"]["labels"] = dict(MANAGED)
    return body


def write_kubeconfig(file: Path, url: str) -> None:
    """Write a kubeconfig for the API server at `url`."""
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
