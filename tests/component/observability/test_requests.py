"""Requests to CoreWeave and to the API server, as they are counted."""

import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from pydantic import SecretStr

from caios_federation.clients import coreweave, errors, kubernetes
from caios_federation.clients.coreweave_http import Operation
from caios_federation.clients.kubernetes import (
    BINDING,
    EVENT,
    NAMESPACE,
    POD,
    SERVICE_ACCOUNT,
    Kind,
    KubernetesClient,
)
from caios_federation.observe.metrics import OPERATIONS, RESOURCES, Metrics
from component.clients.api_server import always, failure, reply, scripted
from component.clients.coreweave import CALLS, Client, owner_of, settings
from component.clients.coreweave import scripted as scripted_coreweave
from component.observability.scraping import Scrape, scrape

OBJECT = {"metadata": {"namespace": "team-a", "name": "reader"}}
Do = Callable[[KubernetesClient], Awaitable[object]]


async def list_all(api: KubernetesClient) -> list[object]:
    return [item async for item in api.list_objects(POD, namespace="team-a")]


async def watch_all(api: KubernetesClient) -> list[object]:
    return [event async for event in api.watch(SERVICE_ACCOUNT, "1")]


REQUESTS: dict[str, Do] = {
    "watch serviceaccounts": watch_all,
    "get serviceaccounts": lambda api: api.read(SERVICE_ACCOUNT, "team-a", "reader"),
    "get namespaces": lambda api: api.read(NAMESPACE, "", "team-a"),
    "list pods": list_all,
    "get openid-configuration": lambda api: api.discover_issuer(),
    "create events": lambda api: api.create(EVENT, OBJECT),
    "patch federatedstoragebindings": lambda api: api.merge(BINDING, OBJECT),
    "patch federatedstoragebindings/status": lambda api: api.apply_status(BINDING, OBJECT),
    "update federatedstoragebindings": lambda api: api.replace(BINDING, OBJECT),
    "delete federatedstoragebindings": lambda api: api.delete(BINDING, "team-a", "r", uid="u"),
    "create serviceaccounts/token": lambda api: api.create_token(
        "team-a", "reader", audience="a", seconds=600
    ),
    "create pods/eviction": lambda api: api.evict("team-a", "reader", uid="u"),
}


async def asked(do: Do, make: Callable[[], web.StreamResponse]) -> Scrape:
    """Return what was counted of a request to an API server that answers as `make` does."""
    metrics = Metrics()
    async with (
        scripted(always(make)) as server,
        ApiClient(Configuration(host=server.url)) as api,
    ):
        asking = KubernetesClient(api, answered=metrics.kubernetes_answered)
        with contextlib.suppress(errors.ClientError):  # it is counted all the same
            await do(asking)
    return scrape(metrics.registry)


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize(("status", "code"), [(200, "2xx"), (409, "4xx"), (503, "5xx")])
async def test_a_request_to_the_api_server_is_counted_by_verb_resource_and_class(
    what: str, status: int, code: str
) -> None:
    answer = reply(items=[]) if status == 200 else failure(status)
    seen = await asked(REQUESTS[what], lambda: answer)
    verb, resource = what.split()
    assert seen("kubernetes_requests_total", verb=verb, resource=resource, code=code) == 1


async def test_an_api_server_that_does_not_answer_is_counted_too() -> None:
    metrics = Metrics()
    async with ApiClient(Configuration(host="http://127.0.0.1:1")) as api:
        asking = KubernetesClient(api, answered=metrics.kubernetes_answered)
        with pytest.raises(errors.Unavailable):
            await asking.read(POD, "team-a", "reader")
    seen = scrape(metrics.registry)
    assert seen("kubernetes_requests_total", verb="get", resource="pods", code="none") == 1


def test_every_kind_that_is_asked_for_has_a_label_of_its_own() -> None:
    kinds = {kind.plural for kind in vars(kubernetes).values() if isinstance(kind, Kind)}
    assert kinds - RESOURCES == set()


def test_every_operation_of_coreweave_has_a_label_of_its_own() -> None:
    asked_for = [each for each in vars(coreweave).values() if isinstance(each, Operation)]
    assert {operation.name for operation in asked_for} == OPERATIONS


async def call(operation: str, url: str, metrics: Metrics) -> None:
    """Ask CoreWeave at `url` for an operation, once."""
    async with coreweave.connect(settings(attempts=1), metrics.coreweave_answered) as opened:
        asking = Client(opened, opened.organization(url, owner_of("token")), url)
        with contextlib.suppress(errors.ClientError):  # it is counted all the same
            await CALLS[operation](asking, SecretStr("token"))


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("status", "code"), [(200, "2xx"), (403, "4xx"), (429, "429"), (500, "5xx")]
)
async def test_a_request_to_coreweave_is_counted_by_operation_and_class(
    operation: str, status: int, code: str
) -> None:
    metrics = Metrics()
    async with scripted_coreweave(always(lambda: web.json_response({}, status=status))) as (it, _):
        await call(operation, it.url, metrics)
    seen = scrape(metrics.registry)
    assert seen("coreweave_requests_total", operation=operation, code=code) == 1
    assert seen("coreweave_request_duration_seconds_count", operation=operation) == 1


async def test_every_try_is_counted() -> None:
    metrics = Metrics()
    answer = always(lambda: web.json_response({}, status=503))
    async with (
        scripted_coreweave(answer) as (it, seen),
        coreweave.connect(settings(attempts=3), metrics.coreweave_answered) as opened,
    ):
        with pytest.raises(errors.Unavailable):
            await opened.organization(it.url, owner_of("token")).whoami()
    assert len(seen) == 3
    counted = scrape(metrics.registry).counted("coreweave_requests_total")
    assert counted == {"5xx WhoAmI": 3}


async def test_what_is_held_back_is_not_counted() -> None:
    metrics = Metrics()
    limiting = always(lambda: web.json_response({}, status=429, headers={"Retry-After": "60"}))
    async with (
        scripted_coreweave(limiting) as (it, _),
        coreweave.connect(settings(), metrics.coreweave_answered) as opened,
    ):
        for _ in range(3):
            with pytest.raises(errors.RateLimited):
                await opened.organization(it.url, owner_of("token")).whoami()
    seen = scrape(metrics.registry)
    assert seen.counted("coreweave_requests_total") == {"429 WhoAmI": 1}
    assert seen("coreweave_request_duration_seconds_count", operation="WhoAmI") == 1


async def test_a_coreweave_that_cannot_be_reached_is_counted() -> None:
    metrics = Metrics()
    await call("WhoAmI", "http://127.0.0.1:1", metrics)
    counted = scrape(metrics.registry).counted("coreweave_requests_total")
    assert counted == {"none WhoAmI": 1}


async def test_a_token_that_is_none_is_not_sent_and_not_counted() -> None:
    metrics = Metrics()
    async with coreweave.connect(settings(), metrics.coreweave_answered) as opened:
        with pytest.raises(errors.Unauthenticated):
            await opened.organization("http://127.0.0.1:1", owner_of("a b")).whoami()
    assert scrape(metrics.registry).counted("coreweave_requests_total") == {}


def test_what_no_list_knows_is_counted_as_other() -> None:
    metrics = Metrics()
    metrics.kubernetes_answered("deletecollection", "secrets/mine", 299)
    metrics.coreweave_answered("Team-A", 700, 0.1)
    metrics.condition_turned("Pod", "Happy", "Maybe", "Sunshine")
    seen = scrape(metrics.registry)
    assert seen.counted("kubernetes_requests_total") == {"2xx other other": 1}
    assert seen.counted("coreweave_requests_total") == {"other other": 1}
    assert seen.counted("condition_transitions_total") == {"other other other other": 1}
