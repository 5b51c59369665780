"""Between watches there is a pause that grows, however they end: nobody is asked without end."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import structlog

import builders
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import Kind, KubernetesClient, Page
from caios_federation.clients.watches import WatchEvent
from caios_federation.settings import CacheSettings
from virtual_time import VirtualLoop

SETTINGS = CacheSettings()
Ending = Callable[[], None]


class Hopeless:
    """An API server whose watches end at once, each in the same way."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.asked: list[float] = []
        """When, by the loop's clock."""

    async def discover_issuer(self) -> str:
        return builders.ISSUER

    async def list_pages(self, _kind: Kind, **_: object) -> AsyncIterator[Page]:
        yield Page((), "10")

    async def watch(self, _kind: Kind, _version: str) -> AsyncIterator[WatchEvent]:
        self.asked.append(asyncio.get_running_loop().time())
        self.ending()
        for _ in ():
            yield _


def in_order() -> None:
    return


def expired() -> None:
    raise errors.Expired("too old")


def refused() -> None:
    raise errors.Unavailable("down")


@pytest.mark.parametrize("ending", [in_order, expired, refused])
def test_a_watch_that_ends_at_once_is_asked_for_less_and_less(ending: Ending) -> None:
    random.seed(1)
    loop, api = VirtualLoop(), Hopeless(ending)
    client = cast("KubernetesClient", api)
    caches = Caches(slim=True)

    async def follow() -> None:
        jobs = [
            asyncio.create_task(caches.keep_true(client, SETTINGS)),
            asyncio.create_task(caches.follow(caches.accounts, client, SETTINGS)),
        ]
        await asyncio.sleep(60)
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)

    with structlog.testing.capture_logs():
        loop.run(follow())
    loop.close()
    pauses = [later - earlier for earlier, later in zip(api.asked, api.asked[1:], strict=False)]
    assert 0.05 < pauses[0] < 0.2
    assert 4 <= min(pauses[-3:]) <= max(pauses[-3:]) <= 6
    assert len(api.asked) < 25
