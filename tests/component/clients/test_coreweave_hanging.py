"""A service that hangs is left alone, and keeps nobody waiting who does not need it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from aiohttp import web
from pydantic import SecretStr

from caios_federation.clients import errors
from caios_federation.clients.circuit import FIRST_PAUSE, MOST_UNDER_WAY
from caios_federation.reconcile.queue import Key, Queue
from caios_federation.settings import ReconcileSettings
from component.clients.api_server import Seen, always, reply
from component.clients.coreweave import CALLS, Client, scripted

BINDINGS = 60
MINT = "CreateAccessKeyFromContainerCreds"
TOKEN = SecretStr("eyJ.a.b")
FOREVER = 3600.0
EXCHANGE_PATH = "/v1/cwobject/temporary-credentials/"
CREDENTIALS = {
    "AccessKeyId": "a",
    "SecretAccessKey": "s",
    "Token": "",
    "Expiration": "2026-11-24T13:00:00Z",
}
FAR = Key("FederatedStorageBinding", "team-b", "needs-nothing")


class Hanging:
    """An API whose exchange does not answer before it is let go; all else does at once."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.exchanges = 0
        self.arrived = asyncio.Semaphore(0)
        """Has one more for each exchange."""

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if not request.path.startswith(EXCHANGE_PATH):
            return reply(policies=[], principal={})
        self.exchanges += 1
        self.arrived.release()
        await self.let_go.wait()
        return reply(**CREDENTIALS)


async def problem_of(call: Callable[[], Awaitable[object]]) -> errors.Unavailable | None:
    try:
        await call()
    except errors.Unavailable as error:
        return error
    return None


async def exchange(it: Client) -> errors.Unavailable | None:
    return await problem_of(lambda: CALLS[MINT](it, TOKEN))


async def time_out(it: Client) -> None:
    """Have as many exchanges time out as it takes to leave their service alone."""
    problems = await asyncio.gather(*(exchange(it) for _ in range(10)))
    assert all("no answer within" in str(problem) for problem in problems)


async def test_sixty_bindings_that_wait_for_a_hanging_exchange_hold_up_no_other() -> None:
    """The other one is last in the queue, and done before any of the sixty had an answer."""
    hanging = Hanging()
    async with scripted(hanging, timeout_seconds=FOREVER) as (it, _):
        done, ended = asyncio.Event(), list[Key]()

        async def reconcile(key: Key) -> None:
            if key == FAR:
                done.set()
                return
            await it.coreweave.exchange(it.credentials_uri, TOKEN)
            ended.append(key)

        keys = [Key("FederatedStorageBinding", "team-a", f"b-{n}") for n in range(BINDINGS)]
        queue = Queue(reconcile, ReconcileSettings())
        with structlog.testing.capture_logs():
            running = asyncio.create_task(queue.run(lambda: [*keys, FAR]))
            async with asyncio.timeout(30):
                await done.wait()
            assert ended == []
            assert hanging.exchanges <= MOST_UNDER_WAY
            running.cancel()
            await asyncio.wait([running])
        hanging.let_go.set()


async def test_after_time_outs_nobody_waits_for_another() -> None:
    hanging = Hanging()
    async with scripted(hanging, timeout_seconds=0.2) as (it, _):
        await time_out(it)
        asked = hanging.exchanges
        refused = [await exchange(it) for _ in range(BINDINGS)]
        assert hanging.exchanges == asked
        hanging.let_go.set()
    assert {str(error) for error in refused} == {
        f"CoreWeave API: {MINT}: not asked, as it hung or failed just now"
    }
    for error in refused:
        assert error is not None
        assert 0 < (error.retry_after_seconds or 0) <= FIRST_PAUSE


async def test_an_exchange_that_hangs_keeps_nobody_from_the_policies() -> None:
    hanging = Hanging()
    async with scripted(hanging, timeout_seconds=0.2) as (it, _):
        await time_out(it)
        assert await it.api.policies() == {}
        hanging.let_go.set()


async def test_a_service_that_hangs_keeps_nobody_from_another() -> None:
    hanging = Hanging()
    async with (
        scripted(hanging, timeout_seconds=0.2) as (it, _),
        scripted(always(lambda: reply(**CREDENTIALS))) as (other, _),
    ):
        await time_out(it)
        await it.coreweave.exchange(other.credentials_uri, TOKEN)
        hanging.let_go.set()


@pytest.mark.parametrize("operation", CALLS)
async def test_a_service_that_only_fails_is_left_alone_too(operation: str) -> None:
    failing = always(lambda: web.json_response({}, status=503))
    async with scripted(failing, attempts=3) as (it, seen):
        problems = [await problem_of(lambda: CALLS[operation](it, TOKEN)) for _ in range(BINDINGS)]
    assert len(seen) == 10
    assert None not in problems
    assert "not asked" in str(problems[-1])


async def test_who_waits_for_a_turn_while_others_fail_does_not_ask_any_more() -> None:
    failing = always(lambda: web.json_response({}, status=503))
    async with scripted(failing, attempts=1, requests_per_second=100) as (it, seen):
        problems = await asyncio.gather(*(exchange(it) for _ in range(MOST_UNDER_WAY)))
    assert 10 <= len(seen) < MOST_UNDER_WAY / 2
    assert sum("not asked" in str(problem) for problem in problems) == len(problems) - len(seen)


async def test_refusals_are_answers_and_leave_nobody_alone() -> None:
    forbidding = always(lambda: web.json_response({}, status=403))
    async with scripted(forbidding) as (it, seen):
        for _ in range(BINDINGS):
            with pytest.raises(errors.PermissionDenied):
                await it.api.whoami()
    assert len(seen) == BINDINGS


async def test_too_many_requests_stays_what_it_is() -> None:
    limiting = always(lambda: web.json_response({}, status=429))
    async with scripted(limiting, attempts=1) as (it, seen):
        for _ in range(BINDINGS):
            with pytest.raises(errors.RateLimited):
                await it.api.whoami()
    assert len(seen) == BINDINGS


async def test_who_gives_up_waiting_leaves_room_for_others() -> None:
    hanging = Hanging()
    async with scripted(hanging, timeout_seconds=FOREVER) as (it, _):
        waiting = [asyncio.create_task(exchange(it)) for _ in range(MOST_UNDER_WAY)]
        for _ in waiting:
            await hanging.arrived.acquire()
        assert await exchange(it) is not None
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        hanging.let_go.set()
        assert await exchange(it) is None
