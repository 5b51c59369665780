"""An API server that says what a test tells it to: a real one does not fail on demand."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import kube_config

from caios_federation.clients.kubernetes import Answered, KubernetesClient, connect


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # any JSON
        return json.loads(self.body)


Answer = Callable[[Seen], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class ScriptedApi:
    """What was asked, and a client that asks."""

    url: str
    client: KubernetesClient
    seen: list[Seen] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """Method and path of each request."""
        return [f"{request.method} {request.path}" for request in self.seen]


def _to_nobody(_verb: str, _resource: str, _status: int | None) -> None:
    pass


@asynccontextmanager
async def connected(
    url: str, *, token: str = "", timeout_seconds: float = 10, answered: Answered = _to_nobody
) -> AsyncIterator[KubernetesClient]:
    """Yield a client of the API server at `url`."""
    configuration = Configuration(host=url)
    if token:
        configuration.api_key["BearerToken"] = f"Bearer {token}"
    async with ApiClient(configuration) as api:
        yield KubernetesClient(api, timeout_seconds=timeout_seconds, answered=answered)


@asynccontextmanager
async def by_kubeconfig(url: str, token: str, directory: Path) -> AsyncIterator[KubernetesClient]:
    """Yield a client of the API server at `url`, as the product connects outside of a cluster."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    with pytest.MonkeyPatch.context() as patch:
        # The official client reads KUBECONFIG when it is imported.
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        async with connect() as client:
            yield client


@asynccontextmanager
async def scripted(
    answer: Answer, *, token: str = "", timeout_seconds: float = 10, answered: Answered = _to_nobody
) -> AsyncIterator[ScriptedApi]:
    """Serve `answer` on loopback; `answered` is told what comes of the client's requests."""
    seen: list[Seen] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        came = Seen(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            await request.read(),
        )
        seen.append(came)
        return await answer(came)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with connected(
            url, token=token, timeout_seconds=timeout_seconds, answered=answered
        ) as client:
            yield ScriptedApi(url, client, seen)


def reply(**body: Any) -> web.Response:  # noqa: ANN401  # any JSON
    """Return an answer that is a JSON object."""
    return web.json_response(body)


def failure(status: int, message: str = "") -> web.Response:
    """Return a Status object as the API server fails with."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return web.json_response({**body, "code": status}, status=status)


def always(make: Callable[[], web.StreamResponse]) -> Answer:
    """Answer every request with a fresh response of `make`."""

    async def answer(_request: Seen) -> web.StreamResponse:
        return make()

    return answer


def in_turn(*answers: Callable[[], web.StreamResponse]) -> Answer:
    """Answer one request after the other; a request too many is a failure."""
    rest = iter(answers)

    async def answer(_request: Seen) -> web.StreamResponse:
        make = next(rest, None)
        return failure(500, "asked once too often") if make is None else make()

    return answer
