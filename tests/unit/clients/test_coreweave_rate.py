"""The rate of requests, in virtual time."""

import asyncio
from itertools import pairwise

import pytest

from caios_federation.clients.coreweave_http import Http, session
from caios_federation.settings import CoreWeaveSettings
from virtual_time import VirtualLoop


class CreepingLoop(VirtualLoop):
    """Virtual time that also passes a little by itself, as the limiter expects of a clock."""

    def time(self) -> float:
        self._clock.now += 1e-7
        return super().time()


async def moments(rate: float, requests: int) -> list[float]:
    """Return when requests are let through that all want to go at once."""
    settings, loop = CoreWeaveSettings(requests_per_second=rate), asyncio.get_running_loop()
    passed: list[float] = []

    async def one(http: Http) -> None:
        await http._rate.acquire()
        passed.append(loop.time())

    async with session(settings) as pool:
        http = Http(pool, settings)
        await asyncio.gather(*(one(http) for _ in range(requests)))
    return passed


@pytest.mark.parametrize("rate", [0.01, 0.5, 1, 3, 50, 1000])
def test_no_second_sees_more_requests_than_the_rate(rate: float) -> None:
    loop = CreepingLoop()
    passed = loop.run(moments(rate, 100))
    loop.close()
    apart = [later - earlier for earlier, later in pairwise(passed)]
    assert apart == [pytest.approx(1 / rate, rel=0.01)] * 99
