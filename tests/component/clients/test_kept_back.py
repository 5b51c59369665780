"""A term that ends while a request waits for its connection: nothing of it is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from caios_federation.clients import coreweave_http, fence
from caios_federation.clients.fence import Term
from component.clients.api_server import always, by_kubeconfig, reply, scripted
from component.clients.coreweave import settings

Opened = Callable[[str, Path], contextlib.AbstractAsyncContextManager[aiohttp.ClientSession]]


@contextlib.asynccontextmanager
async def of_coreweave(url: str, _directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    assert url
    async with coreweave_http.session(settings()) as session:
        yield session


@contextlib.asynccontextmanager
async def of_kubernetes(url: str, directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with by_kubeconfig(url, "planted-token", directory) as client:
        connections = client._api.rest_client
        connections.pool_manager = connections._create_pool_manager()
        yield connections.pool_manager


@pytest.mark.parametrize("opened", [of_coreweave, of_kubernetes])
@pytest.mark.parametrize("ends", [True, False])
async def test_nothing_is_sent_when_the_term_ends_while_it_connects(
    opened: Opened,
    tmp_path: Path,
    *,
    ends: bool,
) -> None:
    term = Term(asyncio.get_running_loop().time() + 60)

    async def connected(*_: object) -> None:
        if ends:
            term.end()

    async with scripted(always(reply)) as api, opened(api.url, tmp_path) as session:
        watched = aiohttp.TraceConfig(SimpleNamespace)
        watched.on_connection_create_end.append(connected)
        watched.freeze()
        session.trace_configs.append(watched)

        async def act() -> int:
            fence.act_for(term)
            with fence.sending(writes=True):
                async with session.post(f"{api.url}/v1/thing", json={}) as response:
                    return response.status

        (outcome,) = await asyncio.gather(asyncio.create_task(act()), return_exceptions=True)
    if ends:
        assert isinstance(outcome, asyncio.CancelledError)
        assert api.asked == []
    else:
        assert outcome == 200
        assert api.asked == ["POST /v1/thing"]
