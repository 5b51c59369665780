"""A cluster and an organization that a federation manages: both scripted, in one journal.

The journal has the steps of both in the order in which they came in; each step can be made to
fail, before or after it took effect.
"""

import asyncio
import base64
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

import builders
from caios_federation.clients import errors
from caios_federation.core.naming import policy_name
from caios_federation.core.sync import meaning_of
from caios_federation.observe.events import Episodes
from caios_federation.reconcile.federation import reconcile_federation
from caios_federation.reconcile.looks import Looks
from caios_federation.reconcile.organizations import Organizations
from caios_federation.reconcile.retained import Retained
from component.clients.api_server import Seen, failure, reply
from component.reconcile.world import Api, World, world

API_TOKEN = "CW-SECRET-planted.token_of-an-administrator"
JWT = "eyJwbGFudGVkLWhlYWRlcg.eyJwbGFudGVkLWNsYWltcw.planted-signature"
ACCESS_KEY, SECRET_KEY = "CW" + "PLANTED0KEY0ID", "cwo" + "planted" * 5 + "secre"
CREDENTIALS = {
    "AccessKeyId": ACCESS_KEY,
    "SecretAccessKey": SECRET_KEY,
    "Token": "",
    "Expiration": "2026-11-24T13:00:00Z",
}
PLANTED = (API_TOKEN, API_TOKEN.partition(".")[2], JWT, *JWT.split("."), ACCESS_KEY, SECRET_KEY)
FINALIZER = "caios.coreweave.com/policy"
NAME = policy_name(builders.ISSUER, "team-a", "reader")
GRANT = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}
OPEN_RULE = {"name": "all", "namespaceSelector": {}, "buckets": ["*"], "access": ["ReadOnly"]}
SECRET_PATH = "/api/v1/namespaces/caios-federation/secrets/coreweave"
BINDING_KIND = "FederatedStorageBinding"
SERVING = {
    "type": "InjectionServing",
    "status": "True",
    "reason": "Serving",
    "message": "The webhook is ready",
    "lastTransitionTime": "2026-11-24T11:00:00Z",
}
"""While nobody injects, bindings look at their Pods again each minute."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How a step fails."""

    status: int = 503
    after: bool = False
    """Whether the step took effect nevertheless."""
    message: str = "later"
    garbage: bool = False
    retry_after: str = ""
    hang: bool = False

    async def answer(self) -> web.StreamResponse:
        if self.hang:
            await asyncio.sleep(3600)
        if self.garbage:
            return web.Response(text=f"<html>{self.message}</html>", status=self.status)
        answer = failure(self.status, self.message)
        if self.retry_after:
            answer.headers["Retry-After"] = self.retry_after
        return answer


@dataclass(slots=True)
class Script:
    """What came in, and what is to fail."""

    journal: list[str] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    pauses: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What a step waits for, once: before it takes effect, or before it is answered."""

    async def came(self, step: str) -> Fault | None:
        """Note a step; return how it fails, if it does."""
        self.journal.append(step)
        await self.pause(step)
        return self.faults.get(step)

    async def pause(self, step: str) -> None:
        if (pause := self.pauses.pop(step, None)) is not None:
            await pause()


@dataclass(slots=True)
class Cluster(Api):
    """Keeps bindings and the record of retained policies as an API server does."""

    script: Script = field(default_factory=Script)
    record: dict[str, str] | None = None
    """Data of the ConfigMap; None where there is none."""

    async def __call__(self, request: Seen) -> web.StreamResponse:
        step = _step_of(request)
        fault = await self.script.came(step)
        if fault is not None and not fault.after:
            return await fault.answer()
        answer = await self._do(step, request)
        await self.script.pause(f"answer to {step}")
        return await fault.answer() if fault is not None else answer

    async def _do(self, step: str, request: Seen) -> web.StreamResponse:
        match step:
            case "token":
                return reply(status={"token": JWT})
            case "read record":
                return failure(404) if self.record is None else reply(data=self.record)
            case "create record":
                self.record = dict(request.json["data"])
                return reply(data=self.record)
            case "record":
                return self._merge_record(request.json["data"])
            case "hold" | "release" | "status":
                return self._write(step, request.json)
            case _:
                return await Api.__call__(self, request)

    def _merge_record(self, data: dict[str, str | None]) -> web.StreamResponse:
        if self.record is None:
            return failure(404)
        merged = self.record | data
        self.record = {name: text for name, text in merged.items() if text is not None}
        return reply(data=self.record)

    def _write(self, step: str, patch: builders.Json) -> web.StreamResponse:
        wanted = patch["metadata"]
        key = patch.get("kind", BINDING_KIND), wanted["name"]
        known = self.known.get(key)
        if known is None:
            return failure(404)
        meta = known["metadata"]
        if wanted.get("uid", meta["uid"]) != meta["uid"]:
            return failure(409)
        if wanted.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
            return failure(409)
        self.version += 1
        changes = {"resourceVersion": str(self.version)}
        fields = {"status": patch["status"]} if step == "status" else {}
        finalizers = wanted.get("finalizers", meta.get("finalizers", []))
        body = {**known, **fields, "metadata": {**meta, **changes, "finalizers": finalizers}}
        self.known[key] = body
        if meta.get("deletionTimestamp") and not finalizers:
            del self.known[key]
        return reply(**body)


BINDING_PATH = "/federatedstoragebindings/"


def _step_of(request: Seen) -> str:
    method, path = request.method, request.path
    if "/configmaps" in path:
        return {"GET": "read record", "POST": "create record"}.get(method, "record")
    if "/secrets/" in path:
        return "secret"
    end = path.rpartition("/")[2]
    if end in {"token", "status", "events", "pods"}:
        return {"events": "event"}.get(end, end)
    if method == "PATCH" and BINDING_PATH in path:
        return "hold" if FINALIZER in request.json["metadata"]["finalizers"] else "release"
    return f"{method} {path}"


@dataclass(slots=True)
class Organization:
    """CoreWeave: policies, and an exchange that needs one."""

    script: Script
    policies: dict[str, builders.Json] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    """What each request had in Authorization."""
    names: list[str] = field(default_factory=list)
    """Names that were written or removed."""
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        step = self._step_of(request)
        self.tokens.append(request.headers["Authorization"])
        fault = await self.script.came(step)
        if fault is not None and not fault.after:
            return await fault.answer()
        answer = await self._do(step, request)
        return await fault.answer() if fault is not None else answer

    async def _do(self, step: str, request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"]
        if token not in {f"Bearer {API_TOKEN}", JWT}:
            return failure(401, f"who is {token}?")
        answer: builders.Json = {}
        match step:
            case "list":
                answer = {"policies": list(self.policies.values())}
            case "ensure":
                policy = (await request.json())["policy"]
                self.policies[policy["name"]] = policy
                self.names.append(policy["name"])
            case "delete":
                name = request.path.rpartition("/")[2]
                self.names.append(name)
                if self.policies.pop(name, None) is None:
                    return failure(404)
            case "exchange":
                answer = CREDENTIALS
            case "whoami":
                answer = {"principal": {"name": "admin"}}
            case "CreateOIDCConfig":
                answer = {"config": {**await request.json(), "uid": "u-1"}}
        return reply(**answer)

    @staticmethod
    def _step_of(request: web.Request) -> str:
        if "/temporary-credentials/" in request.path:
            return "exchange"
        if "/access-policy" not in request.path:
            return request.path.rpartition("/")[2]
        return {"GET": "list", "POST": "ensure", "DELETE": "delete"}[request.method]


@dataclass(slots=True)
class Managed:
    """A world whose federation manages policies."""

    world: World
    cluster: Cluster
    organization: Organization
    script: Script

    async def look(self, name: str = "reader") -> float | None:
        """Reconcile a binding of team-a, as the watch shows it."""
        self.watch()
        return await self.world.reconcile(name)

    async def try_to_look(self, name: str = "reader") -> errors.ClientError | None:
        """Reconcile a binding; return what went wrong."""
        try:
            await self.look(name)
        except errors.ClientError as error:
            return error
        return None

    async def look_at_federation(self, name: str = "default") -> float | None:
        return await reconcile_federation(self.world.caches, self.world.acting, name)

    def watch(self) -> None:
        """Have the caches see what the API server has."""
        bindings = self.world.caches.bindings
        for (kind, _), body in self.cluster.known.items():
            if kind == BINDING_KIND:
                bindings.observe("MODIFIED", body)
        for key, binding in list(bindings.objects.items()):
            if (BINDING_KIND, binding.meta.name) not in self.cluster.known:
                bindings.observe("DELETED", self._body_of(key))

    def _body_of(self, key: str) -> builders.Json:
        namespace, _, name = key.partition("/")
        self.cluster.version += 1
        body = builders.binding(name, namespace)
        body["metadata"]["resourceVersion"] = str(self.cluster.version)
        return body

    def know_namespace(self, **labels: str) -> None:
        self.cluster.version += 1
        metadata = {
            "name": "team-a",
            "labels": labels,
            "resourceVersion": str(self.cluster.version),
        }
        self.world.caches.namespaces.observe("MODIFIED", {"metadata": metadata})

    def federate(self, **spec: Any) -> None:  # noqa: ANN401  # JSON
        """Have the federation say this, beside the usual."""
        self.world.know(_federation(self.organization.url, **spec))

    def delete(self, name: str = "reader", **spec: Any) -> None:  # noqa: ANN401  # JSON
        """Have somebody delete a binding, which stays while it has finalizers."""
        body = self.cluster.known[BINDING_KIND, name]
        if not body["metadata"].get("finalizers"):
            self.remove(name)
            return
        metadata = {**body["metadata"], "deletionTimestamp": "2026-11-24T12:00:00Z"}
        self.world.know({**body, "metadata": metadata, "spec": {**body["spec"], **spec}})

    def remove(self, name: str = "reader") -> None:
        """Have a binding be gone, whatever finalizers it has."""
        del self.cluster.known[BINDING_KIND, name]
        self.watch()

    def restart(self) -> None:
        """Forget all that a process knows beside its caches, which it fills again."""
        acting, client = self.world.acting, self.world.acting.client
        namespace = acting.settings.namespace
        self.world.acting = dataclasses.replace(
            acting,
            organizations=Organizations(acting.coreweave, client, namespace),
            retained=Retained(client, namespace),
            looks=Looks(60),
            episodes=Episodes(),
        )
        self.watch()

    def forget_looks(self) -> None:
        """Have the federation's surroundings looked at, instead of being taken for fine."""
        self.world.acting = dataclasses.replace(self.world.acting, looks=Looks(60))

    def relist(self) -> None:
        """Do what a resync does to what is known of CoreWeave."""
        self.world.acting.organizations.expire()

    def fail(self, step: str, status: int = 503, **fields: Any) -> None:  # noqa: ANN401
        """Have a step fail from now on."""
        self.script.faults[step] = Fault(status, **fields)

    def heal(self) -> None:
        self.script.faults.clear()

    def steps(self) -> list[str]:
        """Return what came in since the last call, but for the telling of events."""
        taken = [step for step in self.script.journal if step != "event"]
        self.script.journal.clear()
        return taken

    @property
    def finalizers(self) -> list[str]:
        body = self.cluster.known.get((BINDING_KIND, "reader"), {"metadata": {}})
        return list(body["metadata"].get("finalizers", []))

    def status(self, name: str = "reader") -> builders.Json:
        found: builders.Json = self.cluster.known[BINDING_KIND, name].get("status", {})
        return found

    def condition(self, kind: str, name: str = "reader") -> builders.Json:
        return _condition(self.status(name), kind)

    def told(self, kind: str, name: str = "reader") -> tuple[str, str]:
        """Return status and reason of a binding's condition."""
        return _told(self.condition(kind, name))

    def federation_status(self) -> builders.Json:
        found: builders.Json = self.cluster.known["StorageFederation", "default"].get("status", {})
        return found

    def federation_condition(self, kind: str) -> builders.Json:
        return _condition(self.federation_status(), kind)

    def federation_told(self, kind: str) -> tuple[str, str]:
        """Return status and reason of the federation's condition."""
        return _told(self.federation_condition(kind))


def _condition(status: builders.Json, kind: str) -> builders.Json:
    entries = status.get("conditions", [])
    return next((entry for entry in entries if entry["type"] == kind), {})


def _told(condition: builders.Json) -> tuple[str, str]:
    return condition.get("status", ""), condition.get("reason", "")


def _federation(url: str, **spec: Any) -> builders.Json:  # noqa: ANN401  # JSON
    usual = {
        "apiTokenSecretName": "coreweave",
        "policyManagement": "Managed",
        "verification": "Enabled",
        "endpoints": {"api": url},
        "grantRules": [OPEN_RULE],
    }
    return {**builders.federation(**{**usual, **spec}), "status": {"conditions": [SERVING]}}


def secret(token: str = API_TOKEN) -> builders.Json:
    """Return the Secret with the API token."""
    return raw_secret(token=base64.b64encode(token.encode()).decode())


def raw_secret(**data: str) -> builders.Json:
    """Return a Secret with `data` as it is."""
    return {"metadata": {"name": "coreweave"}, "data": data}


@contextlib.asynccontextmanager
async def managed(*known: builders.Json, **spec: Any) -> AsyncIterator[Managed]:  # noqa: ANN401
    """Yield a world with a federation of `spec`, its Secret, a ServiceAccount, and `known`."""
    script = Script()
    cluster, organization = Cluster(script=script), Organization(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", organization.serve)
    async with TestServer(app) as server, world(api=cluster) as here:
        organization.url = str(server.make_url("")).rstrip("/")
        cluster.stored[SECRET_PATH] = secret()
        there = Managed(here, cluster, organization, script)
        there.know_namespace()
        there.federate(**spec)
        here.know(builders.service_account(), *known)
        yield there


def granted(**spec: Any) -> builders.Json:  # noqa: ANN401  # JSON
    """Return a binding that is granted something."""
    return builders.binding(**{"grants": [GRANT], **spec})


def is_applied(here: Managed) -> bool:
    """Tell whether CoreWeave has what the binding's status says."""
    document = here.organization.policies.get(NAME)
    return document is not None and meaning_of(document) != "" and FINALIZER in here.finalizers
