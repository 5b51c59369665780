"""No token and no key is in what is logged, told, measured, written or raised, whatever fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import generate_latest

import builders
from caios_federation.clients.errors import ClientError
from component.clients.coreweave import everything_logged
from component.clients.test_coreweave_secrets import shown
from component.reconcile.managed import (
    ACCESS_KEY,
    API_TOKEN,
    JWT,
    PLANTED,
    SECRET_KEY,
    SECRET_PATH,
    Managed,
    granted,
    managed,
    raw_secret,
    secret,
)

ECHO = f"cannot verify {JWT} of Bearer {API_TOKEN}, nor {ACCESS_KEY} with {SECRET_KEY}"
STEPS = ["list", "ensure", "exchange", "whoami", "delete", "ListOIDCConfigs", "CreateOIDCConfig"]
STATUSES = (200, 302, 400, 401, 403, 404, 409, 429, 503)
OWN_STEPS = ["token", "secret", "hold", "release", "status", "pods", "read record", "event"]
"""What the API server is asked for; it repeats no secret, but there are some by then."""


@asynccontextmanager
async def watched(*known: builders.Json, **spec: Any) -> AsyncIterator[tuple[Managed, list[str]]]:  # noqa: ANN401  # JSON
    """Yield a world, and all that may be shown of it; at the end none of that is a secret."""
    texts: list[str] = []
    with everything_logged() as lines:
        async with managed(*known, **spec) as here:
            yield here, texts
            texts += lines
            texts += [repr(line) for line in here.world.lines]
            texts += [repr(here.world.acting), repr(here.world.acting.organizations._remotes)]
            texts += [repr(change) for change in here.world.changes]
            told = [r for r in here.world.server.seen if r.method in {"POST", "PATCH"}]
            texts += [request.body.decode() for request in told]
            texts.append(generate_latest(here.world.acting.metrics.registry).decode())
            assert "caios_federation_kubernetes_requests_total{" in texts[-1]
    assert _found("\n".join(texts)) == []


def _found(text: str) -> list[str]:
    return [planted for planted in PLANTED if planted in text]


async def tried(here: Managed, texts: list[str], *, federation: bool = False) -> None:
    """Reconcile; note what is raised, with everything behind it."""
    try:
        await (here.look_at_federation() if federation else here.look())
    except ClientError as error:
        texts.append(shown(error))


async def failing(step: str, **fault: Any) -> None:  # noqa: ANN401  # a Fault's fields
    """Go through a binding's life while a step fails."""
    async with watched(granted(), trustManagement="Managed") as (here, texts):
        here.fail(step, **fault)
        here.forget_looks()
        for federation in (False, True, False):
            await tried(here, texts, federation=federation)
        here.delete()
        await tried(here, texts)
        assert step in here.script.journal


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("step", STEPS)
async def test_an_answer_that_repeats_the_secrets_is_told_without_them(
    step: str, status: int
) -> None:
    await failing(step, status=status, message=ECHO)


@pytest.mark.parametrize("step", STEPS)
async def test_a_page_that_repeats_the_secrets_is_told_without_them(step: str) -> None:
    await failing(step, status=200, message=ECHO, garbage=True)


@pytest.mark.parametrize("status", [403, 404, 409, 500])
@pytest.mark.parametrize("step", OWN_STEPS)
async def test_a_failure_in_the_cluster_is_told_without_secrets(step: str, status: int) -> None:
    await failing(step, status=status)


async def test_when_all_goes_well_nothing_is_told_either() -> None:
    async with watched(granted(), trustManagement="Observed") as (here, texts):
        await tried(here, texts)
        here.forget_looks()
        await tried(here, texts, federation=True)
        here.delete()
        await tried(here, texts)
        assert here.organization.policies == {}
        assert JWT in here.organization.tokens


@pytest.mark.parametrize(
    "found",
    [
        secret(f"{API_TOKEN} {JWT}"),
        secret(f"{API_TOKEN}\n{JWT}"),
        secret(f"é{API_TOKEN}"),
        raw_secret(token=API_TOKEN),
        raw_secret(token=f"é{API_TOKEN}"),
        raw_secret(other=API_TOKEN),
    ],
    ids=range(6),
)
async def test_a_secret_that_cannot_be_used_is_told_without_what_is_in_it(
    found: builders.Json,
) -> None:
    async with watched(granted()) as (here, texts):
        here.cluster.stored[SECRET_PATH] = found
        here.forget_looks()
        for federation in (False, True):
            await tried(here, texts, federation=federation)
        assert here.told("PolicySynced") == ("False", "PermissionDenied")
        assert not any(JWT in text for text in here.organization.tokens)
